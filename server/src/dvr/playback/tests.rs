//! Recordings, read back.
