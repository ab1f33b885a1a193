//! What IKE and ESP ask of the cryptographic libraries. Nothing in here is a primitive of ours.
