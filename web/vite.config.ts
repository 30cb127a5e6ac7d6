import { readFileSync } from "node:fs";
import { defineConfig, type Plugin } from "vite";

const LICENSES = "LICENSES.txt";

// Vite lists the packages it bundled for the page itself. It does not see what
// only a worker or a font brings, nor what a package has copied into its files.
const NOTICES = [
  "@fontsource/fira-code/LICENSE",
  "@fontsource/roboto/LICENSE",
  "picomatch-browser/LICENSE",
  "monaco-editor/ThirdPartyNotices.txt",
  "prettier/THIRD-PARTY-NOTICES.md",
];

function notices(): Plugin {
  return {
    name: "notices",
    generateBundle: {
      order: "post",
      handler(_options, bundle) {
        const file = bundle[LICENSES];
        if (file?.type !== "asset") throw new Error(`${LICENSES} is missing`);
        const texts = NOTICES.map((path) => {
          const text = readFileSync(new URL(`node_modules/${path}`, import.meta.url), "utf8");
          return `\n## ${path}\n\n${text.trim()}\n`;
        });
        file.source = file.source + texts.join("");
      },
    },
  };
}

// One app per sub-folder of web/. Relative paths start at web/, where npm runs us.
export default defineConfig({
  root: "graphiql",
  base: "/graphiql/",
  publicDir: false,
  plugins: [notices()],
  build: {
    // Relative to root. The Python package ships this folder as it is.
    outDir: "../../gateway/pages/graphiql",
    emptyOutDir: true,
    sourcemap: false,
    license: { fileName: LICENSES },
    // Monaco is one big chunk; the warning would be there on every build.
    chunkSizeWarningLimit: 4096,
    // The packages' "use client" lines mean nothing in a page with no server part.
    rolldownOptions: { checks: { moduleLevelDirective: false } },
  },
});
