// node run.mjs MODULE LAYERS LARGE_EVERY SEED: what main.rs does, for the kernels of WebAssembly.
import { readFileSync } from "node:fs";

// Its position in Isa::ALL.
const SIMD128 = 9;

const [module, ...numbers] = process.argv.slice(2);
const [layers, largeEvery, seed] = numbers.map(Number);
const { instance } = await WebAssembly.instantiate(readFileSync(module));
const { cic_conformance, cic_conformance_isa } = instance.exports;

if (cic_conformance_isa() !== SIMD128) {
  console.log(`runs instruction set ${cic_conformance_isa()} of Isa::ALL, expected ${SIMD128}`);
  process.exit(1);
}
// A number of 32 bits without sign.
const mismatches = cic_conformance(layers, largeEvery, seed) >>> 0;
const large = Math.floor(layers / largeEvery);
console.log(`simd128: ${layers} layers, ${large} of them large, seed ${seed}: ${mismatches} mismatches`);
process.exit(mismatches === 0 ? 0 : 1);
