// The SDK on real guests. PYRO_BINARY names the pyro that was built from this tree.

import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { BridgeError, Pyro, PyroError, streamed } from "pyro-sdk";

const environment = process.env.PYRO_TEST_ENVIRONMENT ?? "debian:12";
const scratch = mkdtempSync(join(tmpdir(), "pyro-sdk-"));
let pyro;

before(() => {
  pyro = new Pyro({ stateDir: join(scratch, "state") });
});

after(async () => {
  await pyro.close();
  rmSync(scratch, { recursive: true });
});

test("one command in a fresh VM", async () => {
  const result = await pyro.runInVM({ environment, command: "echo out; echo err >&2; exit 3" });
  assert.deepEqual([result.stdout, result.stderr, result.exit_code, result.execution_mode], ["out\n", "err\n", 3, "guest"]);
});

test("failures are typed", async () => {
  await assert.rejects(pyro.statusTask({ task_id: "task-000000000000" }), (e) => e instanceof PyroError && e.kind === "not_found");
  await assert.rejects(pyro.runInVM({ environment, command: "true", mem_mib: 1 }), { kind: "invalid" });
  await assert.rejects(pyro.runInVM({ environment, command: "x".repeat(17 << 20) }), { kind: "invalid" });
});

test("a task, its output as it comes, and its input", async () => {
  const task = await pyro.task({ environment });
  try {
    await task.exec("echo kept >f");
    assert.equal((await task.exec(["cat", "f"])).stdout, "kept\n");
    const command = task.stream("echo one; read -r line; echo \"$line\" >&2; exit 4", { stdin: "two\n" });
    const seen = [];
    for await (const { stream, data } of command) seen.push([stream, Buffer.from(data).toString()]);
    assert.deepEqual(seen, [["stdout", "one\n"], ["stderr", "two\n"]]);
    assert.equal((await command.result).exit_code, 4);
    const texts = { stdout: "", stderr: "" };
    const cut = String.raw`printf '\303'; sleep 0.2; printf '\266\n'; printf '\377\303' >&2`;
    for await (const { stream, text } of task.stream(cut)) texts[stream] += text;
    assert.deepEqual(texts, { stdout: "ö\n", stderr: "\ufffd\ufffd" });
    const many = Buffer.alloc(8 << 20, "x");
    assert.equal((await task.exec("wc -c", { stdin: many })).stdout.trim(), String(many.length));
  } finally {
    await task.delete();
  }
  assert.deepEqual((await pyro.listVMs()).tasks, []);
});

test("an aborted call kills its command", async () => {
  const task = await pyro.task({ environment });
  try {
    const stop = new AbortController();
    const started = task.exec("echo $$; exec sleep 600", {
      signal: stop.signal, params: { timeout_seconds: 600 }, onStdout: () => stop.abort(new Error("enough")),
    });
    await assert.rejects(started, /enough/);
    const sleeping = "while pgrep -x sleep >/dev/null; do :; done; echo none";
    assert.equal((await task.exec(sleeping)).stdout, "none\n");
    for await (const chunk of task.stream("echo x; exec sleep 600", { params: { timeout_seconds: 600 } })) {
      assert.equal(chunk.stream, "stdout");
      break; // leaving the loop is enough
    }
    assert.equal((await task.exec(sleeping)).stdout, "none\n");
  } finally {
    await task.delete();
  }
});

test("calls run side by side over one process", async () => {
  const calls = Array.from({ length: 40 }, (_, n) => pyro.statusVM({ vm_id: `vm-${n}` }).catch((e) => e.kind));
  assert.deepEqual(new Set(await Promise.all(calls)), new Set(["not_found"]));
  const call = streamed((options) => pyro.runInVM({ environment, command: "echo 1" }, options));
  assert.equal((await call.result).stdout, "1\n");
});

test("what is no pyro, or dies, is told", async () => {
  const fake = (body) => {
    const path = join(scratch, "pyro");
    writeFileSync(path, `#!${process.execPath}\n${body}`);
    chmodSync(path, 0o755);
    return new Pyro({ binary: path });
  };
  await assert.rejects(fake("console.log('hello'); setInterval(() => {}, 1000)").listVMs(), BridgeError);
  await assert.rejects(fake("console.error('unknown command'); process.exit(2)").listVMs(), { kind: "binary_too_old" });
  const dying = fake(`require("readline").createInterface(process.stdin).on("line", (line) => {
    const m = JSON.parse(line);
    if (m.method !== "hello") process.kill(process.pid, "SIGKILL");
    console.log(JSON.stringify({ id: m.id, result: {} }));
  })`);
  for (let n = 0; n < 2; n++) await assert.rejects(dying.listVMs(), /killed by SIGKILL/);
  await assert.rejects(new Pyro({ binary: "/nonexistent/pyro" }).listVMs(), { kind: "binary_not_found" });
  const closed = new Pyro();
  await closed.close();
  await assert.rejects(closed.listVMs(), /closed/);
});
