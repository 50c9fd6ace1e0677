// Where the pyro executable is.

import { accessSync, constants, statSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join, resolve } from "node:path";

import { BridgeError } from "./errors.js";

/** Finds pyro: as given, else $PYRO_BINARY, else the one of this platform's package, else on PATH. */
export function findBinary(explicit?: string): string {
  for (const [source, named] of [["binary", explicit], ["PYRO_BINARY", process.env["PYRO_BINARY"]]] as const) {
    if (!named) continue;
    if (!executable(named)) {
      throw new BridgeError(`${source} names "${named}", which is no executable file`, "binary_not_found");
    }
    return resolve(named);
  }
  const carried = platformBinary();
  const candidates = carried ? [carried] : [];
  for (const directory of (process.env["PATH"] ?? "").split(delimiter)) {
    if (directory) candidates.push(join(directory, "pyro"));
  }
  for (const candidate of candidates) {
    if (executable(candidate)) return resolve(candidate);
  }
  throw new BridgeError("cannot find the pyro executable", "binary_not_found",
    `install pyro-sdk-linux-${process.arch}, put pyro on PATH, or set PYRO_BINARY`);
}

/** The executable in the package for this platform, which is installed beside this one if the registry has it. */
function platformBinary(): string | undefined {
  try {
    return createRequire(import.meta.url).resolve(`pyro-sdk-linux-${process.arch}/bin/pyro`);
  } catch {
    return undefined;
  }
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
