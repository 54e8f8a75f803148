#![no_main]

use libfuzzer_sys::fuzz_target;
use wallet_fuzz::Service;

thread_local!(static SERVICE: Service = Service::new());

fuzz_target!(|bytes: &[u8]| SERVICE.with(|service| service.body(bytes)));
