// Answers of a model through onnxruntime-web: node web.mjs MODEL_FOLDER ANSWERS_FOLDER,
// where `npm install onnxruntime-web` was typed before; a page in a browser does the same.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import * as ort from "onnxruntime-web";

const [model, answers] = process.argv.slice(2);
const file = readFileSync(`${model}/proof/image.npy`);
const start = 10 + file.readUInt16LE(8); // of the numbers: behind the header of a .npy file, which is text
const shape = /'shape': \(([^)]*)\)/.exec(file.toString("latin1", 10, start))[1].split(",").filter((each) => each.trim()).map(Number);
const pixels = new Float32Array(file.buffer.slice(file.byteOffset + start, file.byteOffset + file.length));

const session = await ort.InferenceSession.create(readFileSync(`${model}/onnx/model.onnx`), { executionProviders: ["wasm"] });
const found = await session.run({ image: new ort.Tensor("float32", pixels, shape) });

mkdirSync(answers, { recursive: true });
for (const name of ["anomaly_map", "score"]) {
  const { dims, data } = found[name];
  let header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${dims.join(", ")},), }`;
  header = header.padEnd(64 * Math.ceil((header.length + 11) / 64) - 11) + "\n";
  const length = Buffer.alloc(2);
  length.writeUInt16LE(header.length);
  writeFileSync(`${answers}/${name}.npy`, Buffer.concat([
    Buffer.from("\x93NUMPY\x01\x00", "latin1"), length, Buffer.from(header, "latin1"), Buffer.from(data.buffer, data.byteOffset, data.byteLength),
  ]));
}
