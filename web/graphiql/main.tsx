// Names the worker files for Monaco; Vite emits them beside the other assets.
import "graphiql/setup-workers/vite";
import "@graphiql/react/style.css";
import "@graphiql/plugin-doc-explorer/style.css";
import "@graphiql/plugin-history/style.css";
import "graphiql/graphiql.css";
import "./page.css";

import { useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

import { type Example, loadExamples } from "./examples";
import {
  keepHeaders,
  keptHeaders,
  PLACEHOLDER,
  reloadOnNewToken,
  takeTokenFromHash,
} from "./headers";
import { storage, storedActiveTab } from "./storage";

// Subscriptions; the headers of the editor, and so the token, go into connection_init.
const sockets = new URL("/graphql", location.href);
sockets.protocol = sockets.protocol.replace("http", "ws");

const fetcher = createGraphiQLFetcher({
  url: "/graphql",
  subscriptionUrl: sockets.href,
  // The server answers with one JSON document: no @defer, no @stream.
  enableIncrementalDelivery: false,
});

/** Ties the headers editor to the kept headers and to the schema. */
function HeadersLink({ onReady }: { onReady: () => void }) {
  const editor = useGraphiQL((state) => state.headerEditor);
  const schema = useGraphiQL((state) => state.schema);
  const { introspect } = useGraphiQLActions();

  useEffect(() => {
    if (editor) onReady();
  }, [editor, onReady]);

  useEffect(() => {
    const model = editor?.getModel();
    const listener = model?.onDidChangeContent((change) => {
      const value = model.getValue();
      if (!change.isFlush) {
        keepHeaders(value);
        return;
      }
      // Set by GraphiQL, not typed: a tab with no headers of its own, or an
      // entry of the history. It gets the token that was typed elsewhere.
      const kept = keptHeaders();
      if (kept !== undefined && (value === "" || value === PLACEHOLDER)) {
        queueMicrotask(() => model.setValue(kept));
      }
    });
    return () => listener?.dispose();
  }, [editor]);

  // Until a schema is there, each finished edit of the headers is a new try.
  useEffect(() => {
    if (schema) return;
    const model = editor?.getModel();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const listener = model?.onDidChangeContent(() => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        try {
          JSON.parse(model.getValue());
        } catch {
          return;
        }
        void introspect();
      }, 800);
    });
    return () => {
      clearTimeout(timer);
      listener?.dispose();
    };
  }, [editor, schema, introspect]);

  return null;
}

function Page({ examples }: { examples: Example[] }) {
  // GraphiQL asks for the schema before its headers editor exists, so with no
  // token. null means "do not ask", undefined "ask".
  const [ready, setReady] = useState(false);
  // GraphiQL shows neither the variables of the first default tab (graphiql
  // issue 3392) nor, after a reload, those of a tab that was not edited; told
  // what the active tab holds, it does.
  const [start] = useState(() => storedActiveTab() ?? examples[0]);
  const [headers] = useState(() => keptHeaders() ?? PLACEHOLDER);

  return (
    <GraphiQL
      fetcher={fetcher}
      storage={storage}
      schema={ready ? undefined : null}
      defaultTabs={examples.length > 0 ? examples : undefined}
      initialQuery={start?.query}
      initialVariables={start?.variables ?? undefined}
      initialHeaders={headers}
      defaultHeaders={headers}
      // Tokens do not belong in localStorage; headers.ts keeps them.
      shouldPersistHeaders={false}
      // With no token, show where it goes.
      defaultEditorToolsVisibility={headers === PLACEHOLDER ? "headers" : true}
    >
      <HeadersLink onReady={() => setReady(true)} />
    </GraphiQL>
  );
}

takeTokenFromHash();
reloadOnNewToken();

const container = document.getElementById("graphiql");
if (!container) throw new Error("#graphiql is missing");
const root = createRoot(container);
void loadExamples().then((examples) => root.render(<Page examples={examples} />));
