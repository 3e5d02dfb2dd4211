// The start of the dashboard: who is signed in, and which page the address names.

import { ApiError, get, signIn, signOut } from "./api.js";
import { h } from "./widgets/dom.js";
import { listen } from "./keyboard.js";
import { parse } from "./router.js";
import { Shell } from "./shell.js";
import { signInPage } from "./pages/signin.js";

const root = document.getElementById("app");
let shell = null;

/** `moorage dev` prints a link with the key after `#`. It signs in, and the key leaves the address at once. */
function takeKey() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (key !== null) history.replaceState(null, "", "#/");
  return key;
}

async function start() {
  const key = takeKey();
  try {
    if (key !== null) await signIn(key);
    showShell(await get("session"));
  } catch (error) {
    if (key === null && error.status === 401) showSignIn("");
    else showSignIn(error instanceof ApiError ? error.message : String(error));
  }
}

function showShell(session) {
  shell?.close();
  shell = new Shell(session, {
    expired: () => showSignIn("Your session has ended. Sign in to continue where you were."),
    leave,
  });
  root.replaceChildren(shell.element);
  shell.open(parse(location.hash));
}

function showSignIn(message) {
  shell?.close();
  shell = null;
  document.title = "Sign in – Moorage";
  root.replaceChildren(
    signInPage({
      message,
      signIn: async (key) => {
        await signIn(key);
        showShell(await get("session"));
      },
    }),
  );
  root.querySelector("input").focus();
}

async function leave() {
  await signOut().catch(() => null);
  showSignIn("");
}

window.addEventListener("hashchange", () => {
  if (new URLSearchParams(location.hash.slice(1)).has("key")) void start();
  else shell?.open(parse(location.hash));
});
listen({ search: () => shell?.search(), pause: () => shell?.togglePause() });
root.replaceChildren(h("p", { class: "boot" }, "Loading"));
await start();
