// What is shown is what the server says of the cookie, which no script can read.

const steps = {
  login: { element: document.getElementById("login"), title: "Log in" },
  code: { element: document.getElementById("code"), title: "Enter your code" },
  orders: { element: document.getElementById("orders"), title: "Your orders" },
};
const notice = document.getElementById("notice");
const rows = steps.orders.element.querySelector("tbody");

/** Never fails: without an answer, the status is 0. */
async function call(method, path, body) {
  const request = { method, cache: "no-store" };
  if (body) {
    request.headers = { "Content-Type": "application/json" };
    request.body = JSON.stringify(body);
  }
  try {
    const response = await fetch(path, request);
    const text = await response.text();
    return { ok: response.ok, status: response.status, ...(text && JSON.parse(text)) };
  } catch {
    return { ok: false, status: 0, detail: "The shop cannot be reached. Try again later." };
  }
}

/** Shows one step, or none, and leaves nothing of the others behind. */
function show(name) {
  document.title = name ? `${steps[name].title} – Example shop` : "Example shop";
  rows.replaceChildren();
  document.getElementById("name").textContent = "";
  for (const [key, { element }] of Object.entries(steps)) {
    element.hidden = key !== name;
    element.querySelector("[role=alert]").textContent = "";
    if (element.hidden && element instanceof HTMLFormElement) element.reset();
  }
  if (name) steps[name].element.querySelector("input, h1[tabindex]").focus();
}

/** Asks for the orders, and shows them or the step that is missing. */
async function refresh(message = "") {
  const answer = await call("GET", "/orders");
  if (answer.ok) {
    show("orders");
    document.getElementById("name").textContent = answer.name;
    rows.replaceChildren(...answer.orders.map(row));
  } else {
    show(answer.step in steps ? answer.step : null);
    message ||= answer.step ? "" : answer.detail;
  }
  notice.textContent = message;
}

function row({ number, item, placed, total }) {
  const line = document.createElement("tr");
  for (const lines of [[item, number], [placed], [total]]) {
    const cell = line.insertCell();
    for (const text of lines) {
      cell.appendChild(document.createElement("span")).textContent = text;
    }
  }
  return line;
}

/** Sends what a form holds, as JSON, which pages of other sites cannot send here. */
function submits(form, path) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const [button, error] = [form.querySelector("[type=submit]"), form.querySelector("[role=alert]")];
    const field = form.querySelector(`[aria-describedby~=${error.id}]`);
    notice.textContent = error.textContent = "";
    field.removeAttribute("aria-invalid");
    button.disabled = true;
    const answer = await call("POST", path, Object.fromEntries(new FormData(form)));
    button.disabled = false;
    if (answer.ok) return refresh();
    if (answer.status === 410) return refresh(answer.detail);
    error.textContent = answer.detail;
    field.setAttribute("aria-invalid", "true");
    field.value = "";
    field.focus();
  });
}

async function logOut(event) {
  const answer = await call("DELETE", "/session");
  if (answer.ok) return refresh("You have logged out.");
  event.target.closest(".step").querySelector("[role=alert]").textContent = answer.detail;
}

submits(steps.login.element, "/session");
submits(steps.code.element, "/session/code");
for (const button of document.querySelectorAll(".log-out")) {
  button.addEventListener("click", logOut);
}

// A browser keeps pages that were left, to show them again on its back button. Of this one it gets
// nothing to keep, and what it shows again is asked for anew.
addEventListener("pagehide", () => show(null));
addEventListener("pageshow", () => refresh());
