// One long-lived pyro process, spoken to in JSON-RPC, a message a line: the protocol of `pyro rpc`.

import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

import { BridgeError, PyroError } from "./errors.js";
import type { Input } from "./options.js";
import { version } from "./version.js";

const protocol = 2;
const messageLimit = 16 << 20; // bytes of one message; the other side refuses longer ones
const inputWindow = 1 << 20; // bytes of input that may be sent before the other side wants more
const inputPiece = 64 << 10;
const helloLimit = 30_000; // milliseconds for a new process to answer
const endLimit = 15_000; // milliseconds for a process to end what it runs

/** What a request may be given beside its parameters. */
interface RequestOptions {
  /** Ends the call; a command that it runs is killed. */
  signal?: AbortSignal | undefined;
  stdin?: Input | undefined;
  /** Is told of each notification about the call, by its method. */
  notify?: ((method: string, params: Record<string, unknown>) => void) | undefined;
}

interface Message {
  id?: number | null;
  method?: string;
  params?: Record<string, unknown>;
  result?: unknown;
  error?: { message: string; data?: { kind?: string; hint?: string } };
}

/** Starts a pyro process at the first call, and another after one that ended. */
export class Bridge {
  #conversation: Conversation | undefined;
  #closed = false;

  constructor(
    private readonly binary: () => string,
    private readonly environment: Readonly<Record<string, string>>,
  ) {}

  async call(method: string, params: object, options: RequestOptions = {}): Promise<unknown> {
    options.signal?.throwIfAborted();
    if (this.#closed) throw new BridgeError("this Pyro is closed");
    if (!this.#conversation?.alive) this.#conversation = new Conversation(this.binary(), this.environment);
    const conversation = this.#conversation;
    await conversation.greeted;
    return conversation.call(method, params, options);
  }

  /** Ends the process and what it runs. VMs and tasks live on. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#conversation?.close();
  }
}

class Conversation {
  alive = true;
  readonly greeted: Promise<void>;
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<void>;
  readonly #calls = new Map<number, (message: Message | undefined) => void>();
  readonly #stderr: string[] = [];
  #nextId = 1;
  #failure = "";

  constructor(private readonly binary: string, environment: Readonly<Record<string, string>>) {
    this.#process = spawn(binary, ["rpc"], { env: { ...process.env, ...environment }, stdio: "pipe", detached: true });
    this.#process.stdin.on("error", () => {}); // its end is seen at the process
    this.#process.on("error", (e) => (this.#failure = `cannot start "${binary}": ${e.message}`));
    createInterface(this.#process.stderr).on("line", (line) => {
      this.#stderr.push(line.slice(0, 500));
      if (this.#stderr.length > 5) this.#stderr.shift();
    });
    createInterface(this.#process.stdout).on("line", (line) => this.#take(line));
    this.#ended = new Promise((resolve) => {
      const end = () => {
        this.alive = false;
        for (const deliver of [...this.#calls.values()]) deliver(undefined);
        resolve();
      };
      this.#process.once("close", end);
      this.#process.once("error", end);
    });
    this.#hold(false);
    this.greeted = this.#hello();
    this.greeted.catch(() => {}); // who calls is told
  }

  async call(method: string, params: object, options: RequestOptions): Promise<unknown> {
    const id = this.#nextId++;
    const feed = options.stdin === undefined ? undefined : new Feed(options.stdin);
    const line = encode({ jsonrpc: "2.0", id, method, params: feed ? { ...params, input: true } : params });
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#calls.set(id, (message) => {
        if (message?.method === "wanted") {
          feed?.wanted(Number(message.params?.["bytes"]));
        } else if (message?.method) {
          options.notify?.(message.method, message.params ?? {});
        } else if (!message) {
          reject(this.#broken());
        } else if (message.error) {
          reject(new PyroError(message.error.message, message.error.data?.kind, message.error.data?.hint));
        } else {
          resolve(message.result);
        }
      });
    });
    const cancel = () => this.#send({ jsonrpc: "2.0", method: "cancel", params: { id } });
    options.signal?.addEventListener("abort", cancel, { once: true });
    this.#hold(true);
    try {
      if (!this.alive) throw this.#broken();
      this.#process.stdin.write(line);
      feed?.run((piece) => this.#send({ jsonrpc: "2.0", method: "input", params: { id, ...piece } }), cancel);
      return await answer;
    } catch (error) {
      options.signal?.throwIfAborted();
      throw feed?.failure ?? error;
    } finally {
      options.signal?.removeEventListener("abort", cancel);
      feed?.stop();
      this.#calls.delete(id);
      this.#hold(this.#calls.size > 0);
    }
  }

  async close(): Promise<void> {
    this.#hold(true);
    this.#process.stdin.end();
    const late = setTimeout(() => this.#process.kill("SIGKILL"), endLimit);
    await this.#ended;
    clearTimeout(late);
  }

  /** A process that nobody waits for must not keep Node from ending. */
  #hold(on: boolean): void {
    const handles = [this.#process, this.#process.stdin, this.#process.stdout, this.#process.stderr];
    for (const handle of handles as unknown as { ref(): void; unref(): void }[]) on ? handle.ref() : handle.unref();
  }

  async #hello(): Promise<void> {
    const late = setTimeout(() => this.#process.kill("SIGKILL"), helloLimit);
    try {
      await this.call("hello", { protocol, client: `pyro-sdk ${version}` }, {});
    } catch (e) {
      await this.close();
      if (e instanceof BridgeError && this.#process.exitCode !== 2) throw e;
      throw new BridgeError(`"${this.binary}" does not speak to this package (${version}): ${(e as Error).message}`,
        "binary_too_old", "install a pyro of the same version");
    } finally {
      clearTimeout(late);
    }
  }

  #take(line: string): void {
    let message: Message;
    try {
      message = JSON.parse(line) as Message;
    } catch {
      this.#failure = `"${this.binary}" did not answer in JSON`;
      this.#process.kill("SIGKILL");
      return;
    }
    const id = message.id ?? message.params?.["id"];
    if (typeof id === "number") {
      this.#calls.get(id)?.(message);
    } else if (message.error) {
      // Something that was sent could not even be read: nobody knows whose it was.
      for (const deliver of [...this.#calls.values()]) deliver(message);
    }
  }

  #send(message: object): Promise<void> {
    if (!this.alive || this.#process.stdin.write(encode(message))) return Promise.resolve();
    return once(this.#process.stdin, "drain").then(() => {}, () => {});
  }

  #broken(): BridgeError {
    const { exitCode, signalCode } = this.#process;
    const how = signalCode ? `was killed by ${signalCode}` : exitCode === null ? "is closed" : `ended with status ${exitCode}`;
    const said = this.#stderr.filter((line) => line.trim()).join("; ");
    return new BridgeError(this.#failure || `the pyro process ${how}${said ? `: ${said}` : ""}`);
  }
}

/** Sends a command's input in pieces, as fast as the command reads it. */
class Feed {
  failure: Error | undefined;
  #credit = inputWindow;
  #more: (() => void) | undefined;
  #stopped = false;

  constructor(private readonly source: Input) {}

  wanted(count: number): void {
    this.#credit += count;
    this.#more?.();
  }

  stop(): void {
    this.#stopped = true;
    this.#more?.();
  }

  /** Reads the source to its end; one that fails ends the call. */
  run(send: (piece: { data: string; end: boolean }) => Promise<void>, cancel: () => void): void {
    const feed = async () => {
      for await (const chunk of chunks(this.source)) {
        for (let at = 0; at < chunk.length; ) {
          while (this.#credit <= 0 && !this.#stopped) await new Promise<void>((resolve) => (this.#more = resolve));
          if (this.#stopped) return;
          const piece = chunk.subarray(at, at + Math.min(inputPiece, this.#credit));
          at += piece.length;
          this.#credit -= piece.length;
          await send({ data: piece.toString("base64"), end: false });
        }
        if (this.#stopped) return;
      }
      await send({ data: "", end: true });
    };
    feed().catch((e: unknown) => {
      this.failure = e instanceof Error ? e : new Error(String(e));
      cancel();
    });
  }
}

async function* chunks(source: Input): AsyncGenerator<Buffer> {
  if (typeof source === "string" || source instanceof Uint8Array) {
    yield Buffer.from(source as string);
    return;
  }
  for await (const chunk of source) yield Buffer.from(chunk as string);
}

function encode(message: object): string {
  const line = JSON.stringify(message) + "\n";
  const size = Buffer.byteLength(line);
  if (size > messageLimit) {
    throw new PyroError(`the arguments take ${size} bytes, more than the ${messageLimit} that a call may have`, "invalid");
  }
  return line;
}
