// Asks for the token. It is kept in the session of this tab, and sent to this service only.

import { ApiError, api, isToken, token } from "./api.js";
import { announce, h, show } from "./elements.js";

const NOT_ENCRYPTED = "This connection is not encrypted: whoever reads the network reads the token.";

const dialog = () => document.getElementById("sign-in");

/** What to say of a token that the service does not let in. */
function refusal(error) {
  if (!(error instanceof ApiError)) throw error;
  if (error.status === 401) return "The service does not know this token, or it has expired.";
  if (error.status === 403) return `The service knows this token, but ${error.message}.`;
  return `The token could not be checked: ${error.message}.`;
}

/** Opens the dialog, if it is closed. `done` is called when the token has changed. */
export function askForToken(reason, done) {
  const element = dialog();
  if (element.open) return;
  const failure = h("p", { class: "failure", id: "sign-in-failure", role: "alert" });
  const input = h("input", {
    type: "password", id: "sign-in-token", autocomplete: "off", spellcheck: "false", "aria-describedby": "sign-in-failure",
  });
  const check = async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    failure.textContent = "";
    if (!isToken(text)) {
      failure.textContent = "Enter a token: one word of ASCII characters.";
      input.focus();
      return;
    }
    try {
      await api.limits({ count: 1 }, { bearer: text });
    } catch (error) {
      failure.textContent = refusal(error);
      input.focus();
      return;
    }
    token.set(text);
    element.close();
    announce("The token is used.");
    done();
  };
  const forget = () => {
    token.clear();
    // What the token let the page show goes with it.
    location.reload();
  };
  show(element,
    h("form", { onsubmit: check, novalidate: true },
      h("h2", { id: "sign-in-title" }, "Token"),
      reason && h("p", {}, reason),
      h("p", { class: "note" }, "The scope read shows limits; admin changes them; metrics shows the state of the service. ",
        "This tab keeps the token until it is closed."),
      !window.isSecureContext && h("p", { class: "failure" }, NOT_ENCRYPTED),
      h("label", { for: "sign-in-token" }, "Token"), input, failure,
      h("p", { class: "buttons" },
        h("button", { type: "submit", class: "main" }, "Use this token"),
        h("button", { type: "button", onclick: () => element.close() }, "Cancel"),
        token.get() !== "" && h("button", { type: "button", class: "quiet", onclick: forget }, "Forget the token"))));
  element.showModal();
  input.focus();
}
