// The client: each method is a request over the bridge.

import { resolve } from "node:path";
import { TextDecoder } from "node:util";

import { findBinary } from "./binary.js";
import { Bridge } from "./bridge.js";
import {
  hostPaths, Operations, type CreateTaskRequest, type ExecTaskRequest, type ExecTaskResult, type LogEntry, type PullProgress,
  type Task,
} from "./operations.js";
import type { CallOptions, FollowOptions, ProgressOptions, StreamOptions } from "./options.js";

/** Options of a {@link Pyro}. All are optional; what is left out is as for the pyro command. */
export interface PyroOptions {
  /** The pyro executable. */
  binary?: string | undefined;
  cacheDir?: string | undefined;
  stateDir?: string | undefined;
  accelerator?: "auto" | "kvm" | "tcg" | undefined;
  maxActiveVMs?: number | undefined;
  /** The Debian mirror that environments are built from. */
  mirror?: string | undefined;
}

/** Runs commands in microVMs. Close it, or hold it with `await using`. */
export class Pyro extends Operations implements AsyncDisposable {
  readonly #bridge: Bridge;

  constructor(options: PyroOptions = {}) {
    super();
    const environment: Record<string, string> = {};
    for (const [name, value] of [
      ["PYRO_CACHE_DIR", options.cacheDir], ["PYRO_STATE_DIR", options.stateDir], ["PYRO_ACCELERATOR", options.accelerator],
      ["PYRO_MAX_ACTIVE_VMS", options.maxActiveVMs], ["PYRO_DEBIAN_MIRROR", options.mirror],
    ] as const) {
      if (value !== undefined) environment[name] = String(value);
    }
    this.#bridge = new Bridge(() => findBinary(options.binary), environment);
  }

  /** Ends the calls under way. VMs and tasks live on. */
  close(): Promise<void> {
    return this.#bridge.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Creates a task and gives it as an object, which deletes it when it is disposed of. */
  async task(params: CreateTaskRequest, options: CallOptions & ProgressOptions = {}): Promise<TaskHandle> {
    return new TaskHandle(this, await this.createTask(params, options));
  }

  protected override call(
    method: string,
    params: object,
    options: CallOptions & StreamOptions & ProgressOptions & FollowOptions,
  ): Promise<unknown> {
    const given: Record<string, unknown> = { ...params };
    for (const name of hostPaths) {
      if (typeof given[name] === "string") given[name] = resolve(given[name]);
    }
    if (options.onStdout ?? options.onStderr) given["stream"] = true;
    if (options.onEvent) given["follow"] = true;
    return this.#bridge.call(method, given, {
      signal: options.signal,
      stdin: options.stdin,
      notify: (kind, message) => notify(options, kind, message),
    });
  }
}

function notify(
  options: StreamOptions & ProgressOptions & FollowOptions,
  kind: string,
  message: Record<string, unknown>,
): void {
  const data = () => Buffer.from((message["data"] as string | null) ?? "", "base64");
  switch (kind) {
    case "output":
      (message["stream"] === "stderr" ? options.onStderr : options.onStdout)?.(data());
      break;
    case "progress":
      options.onProgress?.(message as unknown as PullProgress);
      break;
    case "log":
      options.onEvent?.(message["kind"] as string, message["entry"] as LogEntry, data());
      break;
  }
}

/** A task. */
export class TaskHandle implements AsyncDisposable {
  constructor(
    private readonly pyro: Pyro,
    /** The task's record as it was when this was made. */
    readonly record: Task,
  ) {}

  get id(): string {
    return this.record.task_id;
  }

  /** Runs one command in the task, in /workspace. */
  exec(command: string | string[], options: ExecOptions = {}): Promise<ExecTaskResult> {
    const { params, ...rest } = options;
    const what = typeof command === "string" ? { command } : { argv: command };
    return this.pyro.execTask({ task_id: this.id, ...what, ...params }, rest);
  }

  /** Runs one command, and gives its output piece by piece as it comes. */
  stream(command: string | string[], options: ExecOptions = {}): Streamed<ExecTaskResult> {
    return streamed((streams) => this.exec(command, { ...options, ...streams }), options.signal);
  }

  /** Ends the task and removes all that it kept. */
  async delete(): Promise<void> {
    await this.pyro.deleteTask({ task_id: this.id });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.delete();
  }
}

/** Options of a task's command: those of every command, and the parameters of execTask. */
export type ExecOptions = CallOptions & StreamOptions & {
  params?: Omit<ExecTaskRequest, "task_id" | "command" | "argv"> | undefined;
};

/** A piece of a command's output. */
export interface Chunk {
  stream: "stdout" | "stderr";
  data: Uint8Array;
  /** The data as text. No character is cut: what is missing of one comes with the next piece. */
  text: string;
}

/** A command's output, to be iterated over while it runs, and its end. Leaving the loop early kills the command. */
export interface Streamed<Result> extends AsyncIterable<Chunk> {
  readonly result: Promise<Result>;
}

function decoder(): TextDecoder {
  return new TextDecoder("utf-8", { ignoreBOM: true }); // to ignore it is to leave it in the text
}

/** Makes a call whose output can be iterated over: streamed((o) => pyro.runInVM({…}, o)). */
export function streamed<Result>(
  call: (options: CallOptions & StreamOptions) => Promise<Result>,
  signal?: AbortSignal,
): Streamed<Result> {
  const chunks: Chunk[] = [];
  let ended = false;
  let wake = () => {};
  const leave = new AbortController();
  const add = (stream: Chunk["stream"], decoder: TextDecoder) => (data: Uint8Array) => {
    chunks.push({ stream, data, text: decoder.decode(data, { stream: true }) });
    wake();
  };
  const decoders = { stdout: decoder(), stderr: decoder() };
  const result = call({
    signal: signal ? AbortSignal.any([signal, leave.signal]) : leave.signal,
    onStdout: add("stdout", decoders.stdout),
    onStderr: add("stderr", decoders.stderr),
  }).finally(() => {
    for (const stream of ["stdout", "stderr"] as const) {
      const text = decoders[stream].decode(); // a character that was never finished
      if (text) chunks.push({ stream, data: new Uint8Array(), text });
    }
    ended = true;
    wake();
  });
  result.catch(() => {}); // who waits for it, or iterates, is told
  return {
    result,
    async *[Symbol.asyncIterator]() {
      try {
        for (;;) {
          const next = chunks.shift();
          if (next) {
            yield next;
          } else if (ended) {
            await result;
            return;
          } else {
            await new Promise<void>((resolve) => (wake = resolve));
          }
        }
      } finally {
        if (!ended) leave.abort();
      }
    },
  };
}
