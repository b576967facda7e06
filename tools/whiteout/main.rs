//! A step of building a container.
fn main() {}
