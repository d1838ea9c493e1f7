// The preprocessing of the checkpoint: decode, resize with antialiasing as Pillow does, centre crop.

/** Decode a file to {data: RGB bytes, row by row, width, height}, turned as its EXIF data say, on white. */
export async function decode(file) {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
    rgb[to] = data[from];
    rgb[to + 1] = data[from + 1];
    rgb[to + 2] = data[from + 2];
  }
  return { data: rgb, width, height };
}

const FILTERS = {
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    at: (x) => {
      const t = Math.abs(x), a = -0.5;
      if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
      return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
    },
  },
};

/** For each of `count` outputs from `start` on of a side resized to `made`: first input and its weights. */
function weights(length, made, start, count, filter) {
  const scale = length / made;
  const stretch = Math.max(scale, 1);
  const reach = filter.support * stretch;
  return Array.from({ length: count }, (_, index) => {
    const centre = (start + index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const last = Math.min(length, Math.trunc(centre + reach + 0.5));
    const taps = Array.from({ length: last - first }, (_, tap) => filter.at((first + tap - centre + 0.5) / stretch));
    const sum = taps.reduce((a, b) => a + b, 0);
    return { first, taps: taps.map((tap) => tap / sum) };
  });
}

/** The same for an interpolation without a filter, and for a side that keeps its length. */
function nearest(length, made, start, count) {
  return Array.from({ length: count }, (_, index) => {
    const first = Math.min(length - 1, Math.floor(((start + index) * length) / made));
    return { first, taps: [1] };
  });
}

/** Python's round: halves go to the even neighbour. */
function rounded(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
}

/** Height and width that an image is resized to, before its centre is cropped. */
function resizedSize(height, width, preprocess) {
  const least = preprocess.image_size.map((side) => Math.floor(side / preprocess.crop));
  if (preprocess.stretch) return least;
  const scale = Math.max(least[0] / height, least[1] / width);
  return [Math.max(least[0], Math.trunc(height * scale)), Math.max(least[1], Math.trunc(width * scale))];
}

/** An image of `decode` -> bytes (C, H, W) at the size of the model. Only what is in the crop is computed. */
export function fit(image, preprocess) {
  const [height, width] = preprocess.image_size;
  const made = resizedSize(image.height, image.width, preprocess);
  const top = rounded((made[0] - height) / 2), left = rounded((made[1] - width) / 2);
  const side = (length, size, start, count) =>
    length === size || preprocess.interpolation === "nearest"
      ? nearest(length, size, start, count)
      : weights(length, size, start, count, FILTERS[preprocess.interpolation]);
  const rows = side(image.height, made[0], top, height), columns = side(image.width, made[1], left, width);
  const source = preprocess.channels === 1 ? grey(image) : image.data;
  return resample(source, image.width, preprocess.channels, rows, columns);
}

function grey({ data }) {
  const values = new Uint8Array(data.length / 3);
  for (let index = 0; index < values.length; index++) {
    const at = 3 * index;
    values[index] = (19595 * data[at] + 38470 * data[at + 1] + 7471 * data[at + 2] + 0x8000) >> 16;
  }
  return values;
}

/** First along rows, then along columns, with bytes between the two, as Pillow and torchvision do. */
function resample(source, width, channels, rows, columns) {
  const first = rows[0].first, last = Math.max(...rows.map((row) => row.first + row.taps.length));
  const wide = new Uint8ClampedArray((last - first) * columns.length * channels); // rounds and clips
  for (let y = first; y < last; y++) {
    columns.forEach(({ first: from, taps }, x) => {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let tap = 0; tap < taps.length; tap++) sum += taps[tap] * source[(y * width + from + tap) * channels + c];
        wide[((y - first) * columns.length + x) * channels + c] = sum;
      }
    });
  }
  const made = new Uint8ClampedArray(channels * rows.length * columns.length);
  rows.forEach(({ first: from, taps }, y) => {
    for (let x = 0; x < columns.length; x++) {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let tap = 0; tap < taps.length; tap++)
          sum += taps[tap] * wide[((from - first + tap) * columns.length + x) * channels + c];
        made[(c * rows.length + y) * columns.length + x] = sum;
      }
    }
  });
  return new Uint8Array(made.buffer);
}
