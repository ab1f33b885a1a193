mod answers;
mod paths;
mod security;
