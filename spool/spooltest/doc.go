// Package spooltest holds what every engine of the spool is measured by:
//
//   - Memory, a complete spool.Store without a disk. It is the model: slow and
//     plain, so that its behaviour can be checked by reading it. Rooms that use
//     a spool test against it, and break it on purpose with Fail and Hook.
//   - Run, the contract: one test for each promise of the comments in package
//     spool.
//   - Compare, which runs random verbs on Memory and on an engine side by side
//     and demands the same answers.
//
// Nothing here is used by the daemon.
package spooltest
