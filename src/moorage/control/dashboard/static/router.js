// The address of a page is the part after `#`: `#/connections?user=ada`, `#/connections/ID`. Links can be shared, and the
// service never sees what somebody looks for.

/** `{ name, id, params }` of a fragment. */
export function parse(fragment) {
  const [path, query = ""] = fragment.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [name = "", ...rest] = path.split("/");
  return {
    name: name || "overview",
    id: decoded(rest.join("/")),
    params: Object.fromEntries(new URLSearchParams(query)),
  };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a link that was cut off
  }
}

/** The link to a page. */
export function link(name, params = {}, id = "") {
  const query = new URLSearchParams(
    Object.entries(params).filter(([, value]) => value !== "" && value !== null && value !== undefined),
  );
  const path = id === "" ? name : `${name}/${encodeURIComponent(id)}`;
  return `#/${path}${query.size > 0 ? `?${query}` : ""}`;
}

/** Goes to another page. */
export function go(name, params, id) {
  location.hash = link(name, params, id);
}

/** Changes the parameters in the address without a new entry in the history. */
export function replace(name, params, id) {
  history.replaceState(null, "", link(name, params, id));
}
