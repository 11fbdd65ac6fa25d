// Runs lbrt beside the page, so that the page stays alive while it computes. Messages in: {open: URL}, {ask: TEXT, temperature, seed}, {new: true}.
// Messages out: {ready}, {token}, {done}, {error}.
"use strict";

var Module = {
    onToken: (token) => postMessage({ token }),
    onRuntimeInitialized: () => start(),
};

let started;
const runtime = new Promise((resolve) => { started = resolve; });
function start() { started(); }

importScripts("lbrt.js");

function withText(text, use) {
    const bytes = lengthBytesUTF8(text) + 1, at = Module._malloc(bytes);
    stringToUTF8(text, at, bytes);
    const result = use(at);
    Module._free(at);
    return result;
}

function failed() {
    postMessage({ error: UTF8ToString(Module._web_error()) });
}

async function open(url) {
    await runtime;
    const response = await fetch(url);
    if (!response.ok) {
        throw new Error(url + ": " + response.status + " " + response.statusText);
    }
    const file = new Uint8Array(await response.arrayBuffer());
    const at = Module._web_room(file.length);
    HEAPU8.set(file, at);
    if (Module._web_open(at, file.length, 0) !== 0) {
        failed();
        return;
    }
    postMessage({ ready: { isa: UTF8ToString(Module._web_isa()), bytes: file.length } });
}

function ask(message) {
    const began = performance.now();
    const status = withText(message.ask, (at) => Module._web_ask(at, message.temperature, message.seed, 256));
    if (status !== 0) {
        failed();
        return;
    }
    postMessage({ done: { tokens: Module._web_answer_tokens(), seconds: (performance.now() - began) / 1000 } });
}

onmessage = (event) => {
    const message = event.data;
    if (message.open) {
        open(message.open).catch((e) => postMessage({ error: String(e) }));
    } else if (message.ask) {
        ask(message);
    } else if (message.new) {
        Module._web_new();
    }
};
