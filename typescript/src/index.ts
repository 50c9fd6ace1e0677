export { BridgeError, PyroError } from "./errors.js";
export type * from "./operations.js";
export type { CallOptions, FollowOptions, Input, ProgressOptions, StreamOptions } from "./options.js";
export { Pyro, streamed, TaskHandle, type Chunk, type ExecOptions, type PyroOptions, type Streamed } from "./pyro.js";
export { version } from "./version.js";
