// What a page can make a browser send to the service at `argument.target`. It returns how many requests that were; those
// of a beacon may still be under way.
const { target, user, sameOrigin } = argument;
let next = 0;
const command = (more = {}) => JSON.stringify({ UserId: user, TransactionId: ++next, EventId: next, Amount: 1, ...more });
const calls = ["charge", "deposit"].map((call) => `${target}/api/v1/${call}`);
let sent = 0;
const send = async (request) => {
  sent += 1;
  // An answer that the page may not read, a preflight that fails: either way the request was made.
  try { await request(); } catch {}
};

// A form can send text that is JSON, in an encoding that puts "=" between a name and its value.
const submit = (url, enctype) => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  frame.name = `frame${sent}`;
  document.body.append(frame);
  const form = document.createElement("form");
  Object.assign(form, { method: "post", action: url, enctype, target: frame.name });
  const field = document.createElement("input");
  const [name, value] = command({ Note: "=" }).split("=");
  Object.assign(field, { name, value });
  form.append(field);
  document.body.append(form);
  frame.onload = resolve;
  form.submit();
});

const load = (element, properties) => new Promise((resolve) => {
  element.onload = element.onerror = resolve;
  Object.assign(element, properties);
  document.body.append(element);
});

const opened = (stream) => new Promise((resolve) => {
  stream.onopen = stream.onerror = () => { stream.close(); resolve(); };
});

for (const url of calls) {
  for (const enctype of ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"]) {
    await send(() => submit(url, enctype));
  }
  const post = (options) => fetch(url, { method: "POST", body: command(), credentials: "include", ...options });
  await send(() => post({ mode: "no-cors" }));
  await send(() => post({ mode: "no-cors", body: new Blob([command()]) }));
  await send(() => post({ mode: "no-cors", headers: { "Content-Type": "text/plain; x=application/json" } }));
  await send(() => post({ mode: "cors" }));
  await send(() => post({ mode: "cors", referrerPolicy: "no-referrer" }));
  // Of another origin, these three only ask whether they may.
  await send(() => post({ mode: "cors", headers: { "Content-Type": "application/json" } }));
  await send(() => post({ mode: "cors", headers: { "Content-Type": "application/json", Authorization: "Bearer x" } }));
  await send(() => post({ mode: "cors", method: "PUT" }));
  await send(() => navigator.sendBeacon(url, command()));
  await send(() => navigator.sendBeacon(url, new Blob([command()], { type: "application/json" })));
}
if (!sameOrigin) {
  const read = `${target}/api/v1/users/${user}`;
  await send(() => load(new Image(), { src: read }));
  await send(() => load(document.createElement("script"), { src: read }));
  await send(() => fetch(read));
  const stream = `${target}/api/v1/ledger/entries/stream`;
  await send(() => opened(new EventSource(stream)));
  await send(() => opened(new WebSocket(stream.replace("http", "ws"))));
}
return sent;
