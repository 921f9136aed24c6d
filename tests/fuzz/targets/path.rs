#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| leastload_fuzz::path(data));
