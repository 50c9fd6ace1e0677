// The failures that calls reject with. All are PyroError; its kind is the engine's stable name for the failure.

/** A failure of pyro's own. A command's failure or timeout is a result, not an error. */
export class PyroError extends Error {
  override readonly name: string = "PyroError";

  constructor(
    message: string,
    /** The stable name of the kind of failure: "not_found", "limit_reached", "guest_lost", … */
    readonly kind: string = "internal",
    /** What to do about it, or "". */
    readonly hint: string = "",
  ) {
    super(hint ? `${message}; ${hint}` : message);
  }
}

/** The pyro process that does the work ended or broke off. The next call starts another. */
export class BridgeError extends PyroError {
  override readonly name: string = "BridgeError";

  constructor(message: string, kind = "bridge", hint = "") {
    super(message, kind, hint);
  }
}
