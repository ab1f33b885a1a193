mod paths;
mod security;
