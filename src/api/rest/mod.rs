//! The JSON REST door.
