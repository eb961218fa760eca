// The API: JSON with errors as exceptions, all pages of a question, and the live stream.

/** With the origin: a page that was opened as https://any:token@host/ may not ask for an address that takes that over. */
export const address = (path) => `${location.origin}/api/v1/${path}`;

export async function get(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null));
  const answer = await fetch(`${address(path)}?${query}`, { headers: { Accept: "application/json" } });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.message ?? answer.statusText);
  return body;
}

/** All rows of a question, page by page, at most 30,000. */
export async function metrics(parameters) {
  const rows = [];
  let cursor;
  do {
    const found = await get("metrics", { limit: 10000, ...parameters, cursor });
    rows.push(...found.rows);
    cursor = found.next_cursor;
  } while (cursor && rows.length < 30000);
  return rows;
}

/** Calls `each` with every live message, `lost` when there are none; tries again by itself, for ever. */
export function listen(each, lost) {
  const source = new EventSource(address("live"));
  source.addEventListener("now", (event) => {
    each(JSON.parse(event.data));
  });
  source.onerror = () => {
    lost();
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listen(each, lost), 3000); // refused: the browser gave up
  };
}
