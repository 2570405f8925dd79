// The softphone: WHIP (RFC 9725) for the call, a WebSocket for what was said.

import { words } from "./words.js";

const $ = (id) => document.getElementById(id);
const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "0", "#"];
const TOPICS = "calls.events,asr.transcripts,dialogue.directives";

let key = ""; // the site's, where one is configured; kept in this variable alone
let token = { value: "", until: 0 };
let skew = 0; // the server's clock minus ours, ms
let choices = [];
let call = null; // the one in progress

// Asking -------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, why) {
    super(why);
    this.status = status;
  }
}

async function ask(method, path, options = {}) {
  const answer = await fetch(path, { method, ...options });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, problem.detail || problem.title || String(answer.status));
}

async function fresh() {
  if (Date.now() < token.until) return token.value;
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const made = await (await ask("POST", "/softphone/token", { headers })).json();
  skew = made.now - Date.now();
  token = { value: made.token, until: Date.now() + (made.expires_at - made.now) / 2 };
  return token.value;
}

async function bearer(more = {}) {
  return { Authorization: `Bearer ${await fresh()}`, ...more };
}

// Choosing -----------------------------------------------------------------------------------

async function load() {
  try {
    const answer = await ask("GET", "/softphone/choices", { headers: await bearer() });
    choices = (await answer.json()).choices;
  } catch (error) {
    if (error.status === 401) {
      $("line").textContent = key ? words.keyWrong : "";
      $("key-form").hidden = false;
      $("key").focus();
    } else {
      $("line").textContent = words.noPlace(error.message);
      setTimeout(load, 3000);
    }
    return;
  }
  $("key-form").hidden = true;
  $("choice").replaceChildren(
    ...choices.map((c, n) => new Option(`${c.playbook} (${c.pool})`, String(n))),
  );
  $("line").textContent = choices.length ? words.idle : words.noChoice;
  $("call").disabled = !choices.length;
  showRecogniser();
}

function showRecogniser() {
  const heardBy = choices[$("choice").selectedIndex]?.recogniser;
  $("recogniser").classList.toggle("narrow", Boolean(heardBy?.closed));
  if (!heardBy) $("recogniser").textContent = "";
  else if (heardBy.closed) $("recogniser").textContent = words.closed(heardBy.title);
  else $("recogniser").textContent = words.open(heardBy.title, heardBy.language);
}

// Calling ------------------------------------------------------------------------------------

class Call {
  constructor(choice, microphone) {
    this.choice = choice;
    this.microphone = microphone;
    this.pc = new RTCPeerConnection();
    this.session = "";
    this.etag = "";
    this.late = []; // addresses of ours that the robot does not know yet
    this.over = false;
    this.audio = new AudioContext();
    this.mine = this.meter(microphone);
    this.renewal = setInterval(() => fresh().catch(() => {}), 60_000); // to hang up with
    this.theirs = null;
    this.pc.onicecandidate = ({ candidate }) => this.trickle(candidate);
    this.pc.onconnectionstatechange = () => this.changed();
    this.pc.ontrack = ({ track }) => {
      const stream = new MediaStream([track]);
      $("robot").srcObject = stream;
      this.theirs = this.meter(stream);
    };
  }

  meter(stream) {
    const node = new AnalyserNode(this.audio, { fftSize: 1024 });
    this.audio.createMediaStreamSource(stream).connect(node);
    return node;
  }

  async start() {
    this.sender = this.pc.addTrack(this.microphone.getAudioTracks()[0], this.microphone);
    await this.pc.setLocalDescription();
    const { pool, playbook } = this.choice;
    const path = `/whip/${encodeURIComponent(pool)}?${new URLSearchParams({ playbook })}`;
    const answer = await ask("POST", path, {
      headers: await bearer({ "Content-Type": "application/sdp" }),
      body: this.pc.localDescription.sdp,
    });
    this.session = answer.headers.get("Location");
    this.etag = answer.headers.get("ETag");
    this.id = decodeURIComponent(this.session.split("/").pop());
    $("call-id").textContent = this.id;
    if (this.over) return this.tellEnd();
    this.follow();
    await this.pc.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    await this.sendLate();
  }

  trickle(candidate) {
    if (!candidate?.candidate) return;
    this.late.push(`a=${candidate.candidate}`);
    if (this.session) this.sendLate().catch(() => {}); // its own checks tell the robot, too
  }

  async sendLate() {
    const lines = this.late.splice(0);
    if (!lines.length || this.over) return;
    const mid = this.pc.getTransceivers()[0].mid;
    const body = ["m=audio 9 UDP/TLS/RTP/SAVPF 0", `a=mid:${mid}`, ...lines, ""].join("\r\n");
    const type = "application/trickle-ice-sdpfrag";
    await ask("PATCH", this.session, {
      headers: await bearer({ "Content-Type": type, "If-Match": this.etag }),
      body,
    });
  }

  changed() {
    if (this.pc.connectionState === "connected") $("line").textContent = words.talking;
    if (this.pc.connectionState === "failed") this.end(words.lost);
  }

  press(keys) {
    this.sender?.dtmf?.insertDTMF(this.sender.dtmf.toneBuffer + keys, 120, 80);
  }

  // What was said ----------------------------------------------------------------------------

  async follow() {
    const query = new URLSearchParams({
      topics: TOPICS, call_id: this.id, from: String(Date.now() + skew - 10_000),
    });
    const url = new URL(`/ws/events?${query}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const seen = new Set();
    this.said = new Map(); // words of each prompt, by directive
    this.lines = new Map(); // lines of the transcript, by turn or directive
    const open = async () => {
      this.events = new WebSocket(url, ["ringlog", await fresh()]);
      this.events.onmessage = ({ data }) => {
        const event = JSON.parse(data);
        if (seen.has(event.event_id)) return; // the first record of an id counts
        seen.add(event.event_id);
        this.take(event);
      };
      this.events.onclose = () => this.over || setTimeout(() => open().catch(() => {}), 1000);
    };
    await open();
  }

  take(event) {
    if (event.topic === "dialogue.directives" && event.kind === "say") {
      this.said.set(event.directive_id, event.text || "");
      const line = this.lines.get(event.directive_id);
      if (line) line.querySelector(".text").textContent = event.text;
    } else if (event.topic === "asr.transcripts" && event.leg === "customer") {
      this.heard(event);
    } else if (event.topic === "calls.events") {
      this.progress(event);
    }
  }

  heard({ utterance_id: id, kind, text }) {
    const final = kind === "final";
    if (!text && !final) return;
    if (this.lines.get(id)?.dataset.final) return; // a partial that comes late
    if (!text && !this.lines.has(id)) return;
    const line = this.lines.get(id) || addLine("customer", words.customer);
    this.lines.set(id, line);
    line.querySelector(".text").textContent = text || words.heard;
    line.classList.toggle("open", !final);
    if (final) line.dataset.final = "yes";
  }

  progress(event) {
    const line = this.lines.get(event.directive_id);
    if (event.kind === "playout_started") {
      const made = addLine("robot", words.robot);
      made.querySelector(".text").textContent = this.said.get(event.directive_id) || "…";
      this.lines.set(event.directive_id, made);
    } else if (event.kind === "playout_ended" && line && event.heard_ms < event.prompt_ms) {
      line.querySelector(".text").textContent += words.cut;
    } else if (event.kind === "dtmf") {
      addLine("note").querySelector(".text").textContent = words.pressed(event.digits);
    } else if (event.kind === "ended") {
      this.end(words.ended(event.disposition || event.cause_q850));
    }
  }

  // The end ----------------------------------------------------------------------------------

  async hangUp() {
    for (const track of this.microphone.getTracks()) track.enabled = false;
    await fresh().catch(() => {});
    // Close after the answer: whoever sees the connection close first takes it for lost.
    await Promise.race([this.tellEnd(), new Promise((done) => setTimeout(done, 2_000))]);
    this.pc.close(); // the events tell how it ended
    setTimeout(() => this.end(words.ended("completed")), 3_000);
  }

  async tellEnd() {
    if (!this.session) return;
    await fetch(this.session, {
      method: "DELETE", keepalive: true, headers: { Authorization: `Bearer ${token.value}` },
    }).catch(() => {});
  }

  end(why) {
    if (this.over) return;
    this.over = true;
    clearInterval(this.renewal);
    this.pc.close();
    this.events?.close();
    this.audio.close();
    for (const track of this.microphone.getTracks()) track.stop();
    $("robot").srcObject = null;
    if (call === this) call = null;
    inCall(false);
    $("line").textContent = why;
  }
}

function addLine(kind, who = "") {
  const line = document.createElement("li");
  line.className = kind;
  for (const [name, text] of [["who", who], ["text", ""]]) {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = text;
    line.append(part);
  }
  $("transcript").append(line);
  line.scrollIntoView({ block: "nearest" });
  return line;
}

function inCall(yes) {
  $("call").disabled = yes;
  $("choice").disabled = yes;
  $("hang-up").disabled = !yes;
  for (const button of $("keypad").children) button.disabled = !yes;
}

async function place() {
  inCall(true);
  $("transcript").replaceChildren();
  $("call-id").textContent = "";
  $("line").textContent = words.microphone;
  let microphone;
  try {
    const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    microphone = await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    inCall(false);
    $("line").textContent = words.noMicrophone(error.message);
    return;
  }
  $("line").textContent = words.calling;
  const made = new Call(choices[$("choice").selectedIndex], microphone);
  call = made;
  try {
    await made.start();
  } catch (error) {
    made.tellEnd();
    made.end(error.status === 503 ? words.full : words.failed(error.message));
  }
}

// Levels -------------------------------------------------------------------------------------

function level(node) {
  if (!node) return -60;
  const wave = new Float32Array(node.fftSize);
  node.getFloatTimeDomainData(wave);
  const power = wave.reduce((sum, x) => sum + x * x, 0) / wave.length;
  return Math.max(-60, 10 * Math.log10(power + 1e-9));
}

function draw() {
  $("my-level").value = level(call?.mine);
  $("robot-level").value = level(call?.theirs);
  requestAnimationFrame(draw);
}

// The page -----------------------------------------------------------------------------------

document.documentElement.lang = words.lang;
document.title = words.title;
for (const part of document.querySelectorAll("[data-text]")) {
  part.textContent = words[part.dataset.text];
}
for (const part of document.querySelectorAll("[data-label]")) {
  part.setAttribute("aria-label", words[part.dataset.label]);
}
for (const name of KEYS) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = name;
  button.disabled = true;
  button.onclick = () => call?.press(name);
  $("keypad").append(button);
}
document.addEventListener("keydown", ({ key: name, target }) => {
  if (call && KEYS.includes(name) && target.tagName !== "INPUT") call.press(name);
});
$("key-form").onsubmit = (event) => {
  event.preventDefault();
  key = $("key").value;
  load();
};
$("choice").onchange = showRecogniser;
$("call").onclick = place;
$("hang-up").onclick = () => call?.hangUp();
addEventListener("pagehide", () => call?.tellEnd());
draw();
load();
