// node stamp.mjs APP: writes gateway/pages/APP/SOURCES.sha256, so that a test
// can tell a committed build that is older than its sources, without Node.
//
// The sum is over all files sorted by path: path, NUL, bytes, NUL. The path is
// in UTF-8, with "/", from the top of the repository ("web/graphiql/main.tsx").
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const app = process.argv[2];
if (!app) throw new Error("usage: node stamp.mjs APP");
const web = dirname(fileURLToPath(import.meta.url));
const top = dirname(web);

const files = [
  ...["package-lock.json", "tsconfig.json", "vite.config.ts"].map((name) => join(web, name)),
  ...readdirSync(join(web, app), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name)),
];
const paths = files.map((file) => relative(top, file).split(sep).join("/")).sort();

const sum = createHash("sha256");
for (const path of paths) {
  sum.update(path).update("\0").update(readFileSync(join(top, path))).update("\0");
}
writeFileSync(join(top, "gateway/pages", app, "SOURCES.sha256"), `${sum.digest("hex")}\n`);
