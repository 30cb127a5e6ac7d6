// The headers are kept per browser tab (sessionStorage): a reload keeps the
// token, closing the tab forgets it, and it never reaches localStorage.
const KEY = "campaign-gateway:headers";

export const PLACEHOLDER = headersFor("paste-a-token-here");

function headersFor(token: string): string {
  return `{"Authorization": ${JSON.stringify(`Bearer ${token}`)}}`;
}

function tokenFromHash(): string | undefined {
  const token = /^#token=(.+)$/.exec(location.hash)?.[1];
  if (token === undefined) return undefined;
  try {
    return decodeURIComponent(token);
  } catch {
    return token;
  }
}

/** Takes the token out of `#token=...` and out of the address bar. */
export function takeTokenFromHash(): void {
  const token = tokenFromHash();
  if (token === undefined) return;
  history.replaceState(null, "", location.pathname + location.search);
  keepHeaders(headersFor(token));
}

/** A `#token=` link opened in a page that is already there does not load it again. */
export function reloadOnNewToken(): void {
  addEventListener("hashchange", () => {
    if (tokenFromHash() !== undefined) location.reload();
  });
}

export function keptHeaders(): string | undefined {
  return sessionStorage.getItem(KEY) ?? undefined;
}

export function keepHeaders(headers: string): void {
  if (headers.trim() === "" || headers === PLACEHOLDER) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, headers);
}
