mod attack;
mod build;
mod layout;
mod limits;
mod replay;
mod roundtrip;
mod selectors;
mod vectors;
