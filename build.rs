//! Compiles the gRPC contract, in Rust alone: no `protoc` has to be installed.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=migrations");
    let mut descriptors = protox::Compiler::new(["proto"])?;
    descriptors.include_source_info(true).include_imports(true).open_files(["wallet.proto"])?;
    // Server reflection hands out the same descriptors that the code is made from.
    let descriptor_path = PathBuf::from(env::var("OUT_DIR")?).join("wallet.bin");
    fs::write(descriptor_path, descriptors.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(descriptors.file_descriptor_set())?;
    Ok(())
}
