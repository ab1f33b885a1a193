mod build;
mod checksums;
mod coalescing;
mod errors;
mod fragments;
mod headers;
mod segments;
