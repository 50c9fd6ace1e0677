/** The version of this package, and of the pyro that it needs. */
export const version = "5.0.0";
