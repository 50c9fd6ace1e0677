// What calls may be given beside their parameters.

import type { Readable } from "node:stream";

import type { LogEntry, PullProgress } from "./operations.js";

/** A command's standard input. */
export type Input = string | Uint8Array | Readable;

/** Options of every call. */
export interface CallOptions {
  /** Ends the call; a command that it runs is killed. */
  signal?: AbortSignal | undefined;
}

/** Options of calls that run a command. */
export interface StreamOptions {
  stdin?: Input | undefined;
  /** Are told of output as it comes; the result has it too, bounded. */
  onStdout?: ((data: Uint8Array) => void) | undefined;
  onStderr?: ((data: Uint8Array) => void) | undefined;
}

/** Options of calls that may have to fetch something first. */
export interface ProgressOptions {
  onProgress?: ((progress: PullProgress) => void) | undefined;
}

/** Options of calls that may go on for as long as they are wanted. */
export interface FollowOptions {
  /** Is told of what happens from now on; the call then lasts until its signal is aborted or the task stops. */
  onEvent?: ((kind: string, entry: LogEntry, data: Uint8Array) => void) | undefined;
}
