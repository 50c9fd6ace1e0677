// The unmodified SDK of E2B for JavaScript; the variables in the environment lead it to the server.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

// The package stands in the working directory, not beside this file.
const { Sandbox, CommandExitError, NotFoundError } = createRequire(join(process.cwd(), "x.js"))("e2b");

const sandbox = await Sandbox.create({ timeoutMs: 120_000, envs: { OUTER: "1" } });
try {
  const result = await sandbox.commands.run('echo "$OUTER"; echo err >&2', { cwd: "/tmp" });
  assert.deepEqual([result.stdout, result.stderr, result.exitCode], ["1\n", "err\n", 0]);
  await assert.rejects(sandbox.commands.run("exit 4"), (e) => e instanceof CommandExitError && e.exitCode === 4);
  await sandbox.files.write("/tmp/js/f", "content");
  assert.equal(await sandbox.files.read("/tmp/js/f"), "content");
  assert.deepEqual((await sandbox.files.list("/tmp/js")).map((e) => e.name), ["f"]);
  await assert.rejects(sandbox.files.read("/tmp/js/none"), NotFoundError);
  const cat = await sandbox.commands.run("cat", { background: true, stdin: true });
  await sandbox.commands.sendStdin(cat.pid, "typed\n");
  await cat.kill();
  let seen = "";
  const pty = await sandbox.pty.create({
    rows: 24, cols: 80, timeoutMs: 60_000, onData: (data) => (seen += Buffer.from(data).toString()),
  });
  await sandbox.pty.sendInput(pty.pid, Buffer.from("echo $((40+2)); exit\n"));
  await pty.wait();
  assert.match(seen, /\r42\r\n/);
  assert.ok(await sandbox.isRunning());
} finally {
  await sandbox.kill();
}
