"""The stages of the chain, one module each: parse, plan, launch on Ray. Wiring only."""
