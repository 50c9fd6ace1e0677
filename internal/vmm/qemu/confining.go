//go:build !unconfined

package qemu

// confining is that QEMU is confined. Only what bench/confinement.py builds, to measure what that costs, does
// without.
const confining = true
