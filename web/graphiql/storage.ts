import type { Storage } from "@graphiql/toolkit";

import { keepHeaders } from "./headers";

const NAMESPACE = "graphiql:";

function ownKeys(): string[] {
  return Object.keys(localStorage).filter((key) => key.startsWith(NAMESPACE));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function withoutHeaders(json: string): string {
  // undefined drops the key, so a history item looks like one saved with no headers.
  return JSON.stringify(JSON.parse(json), (key: string, value: unknown) =>
    key === "headers" ? undefined : value,
  );
}

/**
 * localStorage, minus the tokens: GraphiQL's history saves the headers of each
 * run request, even with shouldPersistHeaders off.
 */
export const storage: Storage = {
  getItem: (key) => localStorage.getItem(key),
  setItem(key, value) {
    const isHistory = key === `${NAMESPACE}queries` || key === `${NAMESPACE}favorites`;
    localStorage.setItem(key, isHistory ? withoutHeaders(value) : value);
  },
  removeItem: (key) => localStorage.removeItem(key),
  // "Clear data" in GraphiQL's settings; the token belongs to that data.
  clear() {
    for (const key of ownKeys()) localStorage.removeItem(key);
    keepHeaders("");
  },
  get length() {
    return ownKeys().length;
  },
};

/** The tab that was active when the page was last used, if there is one. */
export function storedActiveTab(): { query: string; variables: string } | undefined {
  let state: unknown;
  try {
    state = JSON.parse(storage.getItem(`${NAMESPACE}tabState`) ?? "null");
  } catch {
    return undefined;
  }
  if (!isRecord(state) || !Array.isArray(state.tabs)) return undefined;
  const tabs: unknown[] = state.tabs;
  const tab = typeof state.activeTabIndex === "number" ? tabs[state.activeTabIndex] : undefined;
  if (!isRecord(tab)) return undefined;
  return {
    query: typeof tab.query === "string" ? tab.query : "",
    variables: typeof tab.variables === "string" ? tab.variables : "",
  };
}
