// Watches the page's requests to the server. If an answer does not come, it shows a message with a button to continue.
//
// Gradio itself would reload the page and lose its content, or wait for ever if a stream of answers ends early. So this
// script hides broken connections from Gradio: a request that cannot be sent waits for the button and is sent again, and
// if a stream of answers breaks, all its pending events get an error as their answer.
{
  const QUIET = 8000; // milliseconds without a sign of life; the server sends a heartbeat every 3 seconds
  const MOST_FILES = 21; // several photographs, and the one that is shown
  const LOST = "Visit lost"; // the title of the error for a lost session (sessions.py)
  const SAID = {
    lost: ["This page no longer has what you were looking at: it was started again, or you were away for long.", "Go on"],
    cut: ["The connection to this page broke off. What was done is kept.", "Go on"],
    quiet: ["There has been no answer for a while. It may still come.", "Try again"],
  };
  const fetchPlainly = window.fetch.bind(window);

  const under = new Map(); // running events: the function's name by the event's id
  const early = new Map(); // results of events that ended before the answer to their request was read, by id
  const quiet = new Set(); // requests without a sign of life; giveUp() aborts one
  const held = []; // requests that wait for the button
  const files = new Map(); // the last uploaded files, by their paths on the server
  let kept = { sample: 0 }; // the last file or sample that was opened in the tab for photographs
  let offersFirst;
  window.segcoreFirstOffered = new Promise((done) => (offersFirst = done)); // a visitor may open the tab before it arrives
  let image = null; // the last image that was opened in the tab with ground truth: [dataset key, [id]]
  let broken = false; // whether a stream of answers broke
  let lost = false; // whether the server has lost this session
  let scoring = false; // whether a set was being scored at that time
  let scoresNext = false; // whether to score the set again after continuing
  let unopened = false; // whether `kept` was requested and not answered
  let handsOver = false; // whether the next on_go_on event must send `kept`

  const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  const addressOf = (input) => new URL(input.url ?? input, location.href);

  // ---- messages

  function tell() {
    const kind = lost ? "lost" : broken || held.length ? "cut" : quiet.size ? "quiet" : null;
    const place = document.getElementById("connection") ?? makePlace();
    if (place.dataset.kind === String(kind)) return;
    place.dataset.kind = kind;
    place.hidden = kind === null;
    if (kind) [place.firstChild.textContent, place.lastChild.textContent] = SAID[kind].map((each) => segcoreText(each));
  }

  function makePlace() {
    const place = document.createElement("div");
    Object.assign(place, { id: "connection", role: "alert", hidden: true });
    const button = document.createElement("button");
    button.addEventListener("click", goOn);
    place.append(document.createElement("p"), button);
    document.body.append(place);
    return place;
  }

  async function goOn() {
    const again = broken || lost;
    handsOver = lost || unopened;
    scoresNext = scoring;
    broken = lost = scoring = unopened = false;
    for (const request of [...quiet]) request.giveUp();
    for (const send of held.splice(0)) send();
    tell();
    if (!again) return;
    await pause(100); // Gradio needs time to handle the broken events
    document.querySelector("#go-on").click();
  }

  async function scoreAgain() {
    scoresNext = false;
    const start = document.querySelector("#set-start");
    while (start.disabled) await pause(100); // until Gradio has handled the end of the last scoring
    start.click();
  }

  // Starts to watch a request. Call `heard` at each sign of life, and `end` when the waiting ends.
  function waitFor(giveUp) {
    let timer;
    const request = {
      giveUp,
      heard() {
        request.end();
        timer = setTimeout(() => (quiet.add(request), tell()), QUIET);
      },
      end() {
        clearTimeout(timer);
        if (quiet.delete(request)) tell();
      },
    };
    request.heard();
    return request;
  }

  // ---- requests

  // Sends a request, again if necessary, until there is an answer. alive: a function that checks whether the server runs.
  async function send(url, options, alive) {
    for (;;) {
      const control = new AbortController();
      let given = false;
      const request = waitFor(() => ((given = true), control.abort()));
      const clock = alive && setInterval(async () => (await alive()) && request.heard(), QUIET / 2);
      try {
        const answer = await fetchPlainly(url, { ...options, signal: control.signal });
        // Other answers come from a proxy, not from the server.
        if (answer.status < 500 || answer.headers.get("content-type")?.includes("json")) return answer;
      } catch (error) {
        console.info(`not answered: ${error}`);
      } finally {
        clearInterval(clock);
        request.end();
      }
      if (!given) await new Promise((again) => (held.push(again), tell()));
    }
  }

  async function ask(url, options) {
    const asked = JSON.parse(options.body);
    const name = window.gradio_config.dependencies.find(({ id }) => id === asked.fn_index)?.api_name ?? "";
    keep(name, asked);
    const answer = await send(url, options);
    const { event_id: id, title } = await answer.clone().json().catch(() => ({})); // a refusal is plain text
    if (title === LOST) loses(name);
    if (early.has(id)) ends(name, early.get(id));
    else if (id) under.set(id, name);
    early.delete(id);
    return answer;
  }

  function ends(name, { success, title }) {
    if (!success && title === LOST) loses(name);
    if (success && scoresNext && name.startsWith("on_go_on")) scoreAgain();
  }

  function keep(name, { data, event_data: event }) {
    const file = name === "on_upload" && files.get(data[0]?.path);
    if (file) kept = { file };
    if (name === "on_sample") kept = { sample: event.index };
    if (name === "on_one_of_several") kept = { file: files.get(data[0][event.index]) };
    const [offered, at] = { on_pick: [data[0], event?.index], on_open: [image ? null : data[0], 0] }[name] ?? [];
    if (offered) image = [offered[0], [offered[1][at]]];
    if (name.startsWith("on_sent")) image = [data[0][0][0], [data[0][1]]];
  }

  // Notes that the events of these functions have failed.
  function fails(...names) {
    scoring ||= names.some((name) => ["on_asked", "on_start"].includes(name));
    unopened ||= names.some((name) => ["on_load", "on_upload", "on_sample", "on_one_of_several"].includes(name));
  }

  function loses(name) {
    lost = true;
    fails(name);
    if (name === "on_go_on") goOn(); // the session was lost without notice: continue again, with the photograph
    else tell();
  }

  async function upload(url, options) {
    const aside = new URL(addressOf(url).pathname.replace(/upload$/, "app_id"), location.href);
    const alive = () => fetchPlainly(aside, { signal: AbortSignal.timeout(QUIET) }).then(() => true, () => false);
    const answer = await send(url, options, alive); // large uploads take long and show no progress
    if (answer.ok) {
      const given = options.body.getAll("files");
      for (const [at, path] of (await answer.clone().json()).entries()) files.set(path, given[at]);
      while (files.size > MOST_FILES) files.delete(files.keys().next().value);
    }
    return answer;
  }

  // Inputs of the on_go_on events: a file, or the number of a sample, or neither if the session still exists; and an image.
  window.segcoreImage = () => image;
  // The gallery shows the images `offered`: [dataset key, ids]. Returns the place of `image` among them, or -1.
  window.segcoreOffered = (offered) => {
    if (offered) offersFirst(offered); // only the first call counts
    return offered && image && offered[0] === image[0] ? offered[1].indexOf(image[1][0]) : -1;
  };
  window.segcoreOpened = () => ({ ...kept, image });
  window.segcoreOpens = (sample) => (kept = { sample });
  window.segcoreKept = async () => {
    const needed = handsOver;
    handsOver = false;
    if (!needed) return [null, null];
    const { file, sample = 0 } = kept; // the first sample if the photograph was one of many and is not kept here any more
    if (!file) {
      kept = { sample };
      return [null, sample];
    }
    const body = new FormData();
    body.append("files", file);
    const url = `${window.gradio_config.root}${window.gradio_config.api_prefix}/upload`;
    const answer = await upload(url, { method: "POST", body });
    if (!answer.ok) {
      lost = true;
      tell();
      throw new Error(`the photograph was refused: ${await answer.text()}`);
    }
    const [path] = await answer.json();
    return [{ path, orig_name: file.name, meta: { _type: "gradio.FileData" } }, null];
  };

  // ---- the stream of answers

  function stream(input) {
    const control = new AbortController();
    let [given, over, left] = [false, false, false];
    input.signal.addEventListener("abort", () => ((over = true), control.abort()));
    const encoder = new TextEncoder();
    const bytes = (message) => encoder.encode(`data: ${JSON.stringify(message)}\n\n`);

    function note({ msg, event_id: id, success, output }) {
      const end = { success, title: output?.title };
      if (msg === "unexpected_error") throw new Error("the server has ended the stream");
      over ||= msg === "close_stream";
      if (msg !== "process_completed") return;
      if (under.has(id)) ends(under.get(id), end);
      else early.set(id, end);
      under.delete(id);
    }

    async function start(controller) {
      const request = waitFor(() => ((given = true), control.abort()));
      const decoder = new TextDecoder();
      let text = "";
      try {
        const answer = await fetchPlainly(new Request(input, { signal: control.signal }));
        if (!answer.ok) throw new Error(`status ${answer.status}`);
        const reader = answer.body.getReader();
        for (let piece; !over && !(piece = await reader.read()).done; ) {
          request.heard();
          text += decoder.decode(piece.value, { stream: true });
          const end = text.lastIndexOf("\n\n") + 2;
          if (end < 2) continue;
          const whole = text.slice(0, end);
          text = text.slice(end);
          for (const line of whole.split("\n\n")) if (line.startsWith("data: ")) note(JSON.parse(line.slice(6)));
          controller.enqueue(encoder.encode(whole));
        }
      } catch (error) {
        console.info(`the answers broke off: ${error}`);
      }
      request.end();
      if (!over) breaks(controller);
      if (!left) controller.close();
    }

    function breaks(controller) {
      broken = true;
      fails(...under.values());
      const output = { error: segcoreText(SAID.cut[0]), visible: false };
      for (const id of under.keys()) controller.enqueue(bytes({ msg: "process_completed", event_id: id, success: false, output }));
      under.clear();
      controller.enqueue(bytes({ msg: "close_stream", event_id: null }));
      if (given) goOn();
      else tell();
    }

    const cancel = () => ((over = left = true), control.abort());
    return new Response(new ReadableStream({ start, cancel }), { headers: { "content-type": "text/event-stream" } });
  }

  window.fetch = (input, options) => {
    const { pathname, origin } = addressOf(input);
    if (origin === location.origin) {
      if (pathname.endsWith("/queue/data")) return Promise.resolve(stream(input));
      if (pathname.endsWith("/upload")) return upload(input, options);
      if (pathname.endsWith("/queue/join") || pathname.includes("/gradio_api/run/")) return ask(input, options);
    }
    return fetchPlainly(input, options);
  };
}
