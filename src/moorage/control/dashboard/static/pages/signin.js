// The sign-in with an admin key.

import { h, setShown, setText } from "../widgets/dom.js";

/** `message` says why somebody has to sign in; `signIn(key)` throws what the page shows. */
export function signInPage({ message, signIn }) {
  const key = h("input", {
    id: "key",
    type: "password",
    name: "key",
    autocomplete: "current-password",
    spellcheck: "false",
    "aria-describedby": "key-hint problem",
  });
  const problem = h("p", { class: "problem", id: "problem", role: "alert", hidden: true });
  const button = h("button", { type: "submit", class: "button strong wide" }, "Sign in");

  function say(text) {
    setText(problem, text);
    setShown(problem, text !== "");
  }

  async function submit(event) {
    event.preventDefault();
    if (key.value === "") {
      say("Enter an admin key.");
      key.focus();
      return;
    }
    button.disabled = true;
    try {
      await signIn(key.value.trim());
    } catch (error) {
      say(error.message);
      button.disabled = false;
      key.select();
    }
  }

  say(message);
  return h(
    "main",
    { class: "signin" },
    h(
      "form",
      { class: "panel", novalidate: true, onsubmit: submit },
      h("h1", {}, "Moorage"),
      h("div", { class: "field" }, h("label", { for: "key" }, "Admin key"), key),
      problem,
      button,
      h(
        "p",
        { class: "hint", id: "key-hint" },
        "The key is the setting ",
        h("code", {}, "admin.read_key"),
        " or ",
        h("code", {}, "admin.operate_key"),
        " of the service. ",
        h("code", {}, "moorage dev"),
        " prints a link that signs you in.",
      ),
    ),
  );
}
