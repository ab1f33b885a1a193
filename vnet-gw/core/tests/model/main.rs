//! From the text of a template to a topology, through the public API.

mod connections;
mod deployed;
mod documents;
mod evaluated;
mod exported;
mod functions;
mod gateways;
mod interfaces;
mod kept;
mod peerings;
mod policies;
mod properties;
mod random;
mod remembered;
mod rules;
mod scale;
mod secrets;
mod security;
mod store;
mod subnet_peerings;
mod support;
mod template;
mod transits;
mod vpn;
