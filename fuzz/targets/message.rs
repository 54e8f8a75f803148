#![no_main]

use libfuzzer_sys::fuzz_target;
use wallet_fuzz::Doors;

thread_local!(static DOORS: Doors = Doors::new());

fuzz_target!(|bytes: &[u8]| DOORS.with(|doors| doors.message(bytes)));
