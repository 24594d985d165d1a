//! Makes the messages and services of the feature `grpc` from the files in `proto/`. `protox` reads them, so that no
//! `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "grpc")]
    grpc::generate()?;
    Ok(())
}

#[cfg(feature = "grpc")]
mod grpc {
    use std::path::PathBuf;

    /// The services. The messages follow from them.
    const SERVICES: [&str; 2] =
        ["envoy/service/ratelimit/v3/rls.proto", "kuadrant/service/ratelimit/v1/ratelimit.proto"];

    pub(super) fn generate() -> Result<(), Box<dyn std::error::Error>> {
        println!("cargo::rerun-if-changed=proto");
        let out = PathBuf::from(std::env::var("OUT_DIR")?);
        let mut compiler = protox::Compiler::new(["proto"])?;
        compiler.include_imports(true).include_source_info(true).open_files(SERVICES)?;
        std::fs::write(out.join("grpc.bin"), compiler.encode_file_descriptor_set())?;
        tonic_prost_build::configure()
            .build_transport(false)
            .include_file("grpc.rs")
            .compile_fds(compiler.file_descriptor_set())?;
        Ok(())
    }
}
