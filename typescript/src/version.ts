/** The version of this package, and of the pyro that it needs. */
export const version = "0.1.0";
