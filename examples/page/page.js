// The page of the sample chat. Only connect() depends on Moorage.

const TYPING_PAUSE = 1500; // milliseconds without a key until "stop typing"
const element = (id) => document.getElementById(id);
const log = element("log");

/** Opens the socket. The app server provides the address, the hub's path and, if needed, a token. */
async function connect() {
  const invitation = async () => (await fetch("/negotiate")).json();
  const { endpoint, path, token } = await invitation(); // path is "/clients/socketio/hubs/chat"
  const socket = io(endpoint, { path, query: token ? { access_token: token } : {} });
  if (!token) return socket;
  socket.on("connect_error", async () => {
    // A token is valid for an hour; a page that slept longer needs a new one for the next attempt.
    const fresh = await invitation().catch(() => null);
    if (fresh) socket.io.opts.query.access_token = fresh.token;
  });
  return socket;
}

function add(item) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  log.append(item);
  if (atEnd) log.scrollTop = log.scrollHeight; // whoever scrolled back to read is left in peace
  return item;
}

function note(text) {
  const item = document.createElement("li");
  item.className = "note";
  item.textContent = text;
  return add(item);
}

/** One colour per name, the same on every screen. */
const hue = (name) => [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);

function message(username, text, own = false) {
  const item = document.createElement("li");
  item.className = own ? "message own waiting" : "message";
  if (!own) {
    const name = document.createElement("span");
    name.className = "name";
    name.style.setProperty("--hue", hue(username));
    name.textContent = username;
    item.append(name);
  }
  item.append(text);
  return add(item);
}

function showCount(people) {
  element("count").textContent = people === 1 ? "· just you" : `· ${people} people`;
}

const typists = new Set();
function showTyping(username, active) {
  if (active) typists.add(username);
  else typists.delete(username);
  const names = [...typists];
  element("typing").textContent =
    names.length === 0 ? "" : names.length === 1 ? `${names[0]} is typing …` : `${names.length} people are typing …`;
}

function showState(state) {
  element("state").textContent = state;
  element("state").dataset.state = state;
}

function listen(socket, nickname) {
  // Also after a reconnect: for the app server it is a new socket without a name.
  socket.on("connect", () => {
    showState("connected");
    socket.emit("add user", nickname);
  });
  socket.on("disconnect", (reason) => {
    showState("reconnecting");
    typists.clear();
    showTyping("", false);
    if (reason === "io server disconnect") socket.connect(); // the one case Socket.IO leaves to us
  });
  socket.on("connect_error", () => showState("reconnecting"));

  socket.on("login", ({ username, numUsers }) => {
    note(`Welcome, ${username}`);
    showCount(numUsers);
  });
  socket.on("user joined", ({ username, numUsers }) => {
    note(`${username} joined`);
    showCount(numUsers);
  });
  socket.on("user left", ({ username, numUsers }) => {
    note(`${username} left`);
    showTyping(username, false);
    showCount(numUsers);
  });
  socket.on("new message", ({ username, message: text }) => {
    showTyping(username, false);
    message(username, text);
  });
  socket.on("typing", ({ username }) => showTyping(username, true));
  socket.on("stop typing", ({ username }) => showTyping(username, false));
}

function speak(socket, nickname) {
  let pause = 0;
  const stopTyping = () => {
    if (!pause) return;
    clearTimeout(pause);
    pause = 0;
    socket.emit("stop typing");
  };

  element("message").addEventListener("input", () => {
    if (pause) clearTimeout(pause);
    else socket.emit("typing");
    pause = setTimeout(stopTyping, TYPING_PAUSE);
  });
  element("message-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = element("message").value.trim();
    if (!text) return;
    element("message").value = "";
    stopTyping();
    const item = message(nickname, text, true);
    socket.emit("new message", text, () => item.classList.remove("waiting"));
  });
}

element("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const nickname = element("nickname").value.trim();
  if (!nickname) return;
  element("login").hidden = true;
  element("chat").hidden = false;
  element("message").focus();
  const socket = await connect().catch(() => null);
  if (!socket) return note("The app server does not answer. Reload the page to try again.");
  listen(socket, nickname);
  speak(socket, nickname);
});
