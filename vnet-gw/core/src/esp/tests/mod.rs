mod build;
mod roundtrip;
