//! Writes the Rust of a protobuf descriptor set: `generator DESCRIPTOR_SET OUT_DIR`.

use std::error::Error;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(descriptor_set), Some(out_dir)) = (arguments.next(), arguments.next()) else {
        return Err("usage: generator DESCRIPTOR_SET OUT_DIR".into());
    };
    let files = prost_types::FileDescriptorSet::decode(std::fs::read(descriptor_set)?.as_slice())?;
    tonic_prost_build::configure()
        .build_server(false)
        .emit_rerun_if_changed(false)
        // A token is a secret, so the client has a `Debug` of its own for this message and for what is in it.
        .skip_debug([".pdp.v1.Subject"])
        .out_dir(out_dir)
        .compile_fds(files)?;
    Ok(())
}
