// web_check.js FOLDER CHROMIUM QUESTION...: serves the page that `make web` made, lets headless Chromium ask the questions, and prints what the page shows, one line
// a turn. The page is as it is but for a script behind it, which waits for the title that the page takes when all is answered.
"use strict";
const fs = require("fs"), http = require("http"), os = require("os"), path = require("path");
const { spawn } = require("child_process");
const [folder, chromium, ...questions] = process.argv.slice(2);
const kinds = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".wasm": "application/wasm", ".lbrt": "application/octet-stream" };
const watcher = `<script>
new MutationObserver(() => {
    const error = document.querySelector(".error");
    if (error || document.title.endsWith(": answered")) {
        const turns = [...document.querySelectorAll(".turn")].map((t) => t.textContent.replaceAll("\\n", " "));
        fetch("/report", { method: "POST", body: JSON.stringify({ ok: !error, turns, about: document.getElementById("about").textContent }) });
    }
}).observe(document, { subtree: true, childList: true, characterData: true });
</script>`;

const profile = fs.mkdtempSync(path.join(os.tmpdir(), "lbrt-web-"));
let browser;

function end(code) {
    browser.on("exit", () => {
        fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
        process.exit(code);
    });
    browser.kill("SIGKILL");
}

const server = http.createServer((request, response) => {
    const name = new URL(request.url, "http://localhost").pathname;
    if (request.method === "POST" && name === "/report") {
        let body = "";
        request.on("data", (d) => { body += d; });
        request.on("end", () => {
            const report = JSON.parse(body);
            response.end();
            console.error(report.about);
            console.log(report.turns.join("\n"));
            end(report.ok ? 0 : 1);
        });
        return;
    }
    const file = path.join(folder, path.basename(name === "/" ? "index.html" : name));
    fs.readFile(file, (error, data) => {
        response.writeHead(error ? 404 : 200, { "Content-Type": kinds[path.extname(file)] ?? "text/plain" });
        response.end(error ? "" : path.extname(file) === ".html" ? data + watcher : data);
    });
});

server.listen(0, "127.0.0.1", () => {
    const query = ["temperature=0", ...questions.map((q) => "ask=" + encodeURIComponent(q))].join("&");
    browser = spawn(chromium, ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--user-data-dir=" + profile,
        `http://127.0.0.1:${server.address().port}/?${query}`], { stdio: "ignore" });
    setTimeout(() => { console.error("no answer within two minutes"); end(1); }, 120000);
});
