// Weights from the bytes that pack.py wrote. A layer answers two questions: where a query looks (`row`), and who looks
// at a key (`column`). Tokens are counted with the prefix in front: query or key `prefix + cell` is a patch.

const inflate = async (bytes) => {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
};

export const fromBase64 = (text) => {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
};

/**
 * Where tokens lie: `prefix` of them, then `cells` patches. Where patches are hidden, merged or of several sizes,
 * `cover` is the patch of each cell of the grid, `spans` has the sides of each: top, left, bottom, right, and `members`
 * its cells, which need not fill that rectangle. Cells without a token have numbers from `cells` on. Tokens that are
 * `free` are none of those that lead the patches. The grid of a clip has its `frames` side by side, in rows and columns.
 */
const layout = ({ grid: [rows, columns], prefix, cover = null, free = false, frames = null }) => {
  if (!cover) return { rows, columns, prefix, free, cover, frames, spans: null, cells: rows * columns };
  const cells = cover.reduce((most, patch) => Math.max(most, patch), -1) + 1;
  let next = cells;
  const whole = cover.map((patch) => (patch < 0 ? next++ : patch));
  const members = [];
  whole.forEach((patch, cell) => (members[patch] ??= []).push(cell));
  return { rows, columns, prefix, free, cover: whole, spans: spansOf(whole, columns), members, cells };
};

const spansOf = (cover, columns) => {
  const spans = [];
  cover.forEach((patch, cell) => {
    const [row, column] = [Math.floor(cell / columns), cell % columns];
    const span = (spans[patch] ??= [row, column, 0, 0]);
    const [top, left, bottom, right] = span;
    span.splice(0, 4, Math.min(top, row), Math.min(left, column), Math.max(bottom, row + 1), Math.max(right, column + 1));
  });
  return spans;
};

/** What packed and dense weights share: where their queries and keys lie. */
class Weights {
  constructor({ queries, keys, heads, each }, group, cells) {
    this.queries = queries;
    this.keys = keys;
    this.heads = heads;
    this.each = each;
    this.count = this.queries.prefix + this.queries.cells;
    this.group = group;
    this.cells = cells;
    this.inverse = null;
  }

  /** Whether every token looks at every token. */
  get whole() {
    return !this.cells && this.queries.cells === this.keys.cells && this.queries.prefix === this.keys.prefix;
  }

  /** The cell of the key grid that a query's patch key number `index` is; 65535 for none. */
  cellOf(query, index) {
    return this.cells ? this.cells[this.group[query] * this.each + index] : index;
  }

  /** Which of its patch keys a cell is for a query; -1 for none. */
  indexOf(query, cell) {
    if (!this.cells) return cell;
    if (!this.inverse) {
      const groups = this.cells.length / this.each;
      this.inverse = new Int32Array(groups * this.keys.cells).fill(-1);
      this.cells.forEach((found, at) => {
        if (found !== 65535) this.inverse[Math.floor(at / this.each) * this.keys.cells + found] = at % this.each;
      });
    }
    return this.inverse[this.group[query] * this.keys.cells + cell];
  }

  /** Where a query looks: fills `patches` (the key grid) and `lead` (the prefix keys). */
  row(head, query, patches, lead) {
    if (this.cells) {
      for (let index = 0; index < this.each; index += 1) {
        const cell = this.cellOf(query, index);
        if (cell !== 65535) patches[cell] = this.patch(head, query, index);
      }
    } else this.wholeRow(head, query, patches);
    for (let index = 0; index < this.keys.prefix; index += 1) lead[index] = this.leading(head, query, index);
  }

  /** All patches as one query, the mean of where they look, or as one key: what each query gives to them. */
  total(head, from, patches, lead) {
    const { prefix, cells } = this.queries;
    for (let query = from ? prefix : 0; query < this.count; query += 1) {
      let sum = 0;
      for (let index = 0; index < this.each; index += 1) {
        const value = this.patch(head, query, index);
        const cell = this.cellOf(query, index);
        if (from && cell !== 65535) patches[cell] += value / cells;
        sum += value;
      }
      if (from) {
        for (let index = 0; index < lead.length; index += 1) lead[index] += this.leading(head, query, index) / cells;
      } else if (query < prefix) lead[query] = sum;
      else patches[query - prefix] = sum;
    }
  }

  /** Who looks at a key: fills `patches` (the query grid) and `lead` (the prefix queries). */
  column(head, key, patches, lead) {
    const { prefix } = this.queries;
    const quick = !this.cells && key >= this.keys.prefix;
    if (quick) this.wholeColumn(head, key - this.keys.prefix, patches);
    for (let query = 0; query < (quick ? prefix : this.count); query += 1) {
      const index = key < this.keys.prefix ? key : this.indexOf(query, key - this.keys.prefix);
      const value = index < 0 ? 0 : key < this.keys.prefix ? this.leading(head, query, key) : this.patch(head, query, index);
      if (query < prefix) lead[query] = value;
      else patches[query - prefix] = value;
    }
  }
}

/** One layer, its heads one by one. */
export class Layer extends Weights {
  static async read(meta, bytes) {
    const content = await inflate(bytes);
    let at = 0;
    const take = (kind, length) => {
      const found = new kind(content, at, length);
      at += found.byteLength;
      return found;
    };
    const { count } = meta;
    const scale = Float32Array.from(take(Uint16Array, meta.heads * count), (coded) => 2 ** (8 - coded / 2048));
    const lead = take(Int16Array, meta.heads * count * meta.keys.prefix);
    const group = meta.groups ? take(Uint16Array, count) : null;
    const cells = meta.groups ? take(Uint16Array, meta.groups * meta.each) : null;
    return new Layer(meta, scale, lead, group, cells, take(Uint8Array, meta.heads * count * meta.each));
  }

  constructor(meta, scale, lead, group, cells, places) {
    super({ ...meta, queries: layout(meta.queries), keys: layout(meta.keys) }, group, cells);
    this.scale = scale;
    this.lead = lead;
    this.leadStep = meta.leadStep;
    this.places = places;
    this.share = Float32Array.from({ length: 256 }, (_, place) => {
      const root = (place - (meta.signed ? meta.steps : 0)) / meta.steps;
      return Math.sign(root) * root * root;
    });
    this.averaged = null;
  }

  patch(head, query, index) {
    const row = head * this.count + query;
    return this.share[this.places[row * this.each + index]] * this.scale[row];
  }

  // What a hover asks a hundred times a frame, without a call for each patch.
  wholeRow(head, query, patches) {
    const { places, share, each } = this;
    const row = head * this.count + query;
    const scale = this.scale[row];
    for (let index = 0, at = row * each; index < each; index += 1, at += 1) patches[index] = share[places[at]] * scale;
  }

  wholeColumn(head, index, patches) {
    const { places, share, scale, each } = this;
    let row = head * this.count + this.queries.prefix;
    for (let query = 0; query < patches.length; query += 1, row += 1) {
      patches[query] = share[places[row * each + index]] * scale[row];
    }
  }

  leading(head, query, index) {
    return this.lead[(head * this.count + query) * this.keys.prefix + index] * this.leadStep;
  }

  /** The mean over the heads, made when it is first asked for. */
  get mean() {
    if (!this.averaged) {
      const patches = new Float32Array(this.count * this.each);
      const lead = new Float32Array(this.count * this.keys.prefix);
      for (let head = 0; head < this.heads; head += 1) {
        for (let at = 0, row = head * this.count; at < patches.length; row += 1) {
          const scale = this.scale[row] / this.heads;
          const place = row * this.each;
          for (let index = 0; index < this.each; index += 1, at += 1) {
            patches[at] += this.share[this.places[place + index]] * scale;
          }
        }
        for (let at = 0; at < lead.length; at += 1) {
          lead[at] += (this.lead[head * lead.length + at] * this.leadStep) / this.heads;
        }
      }
      this.averaged = new Dense(this, patches, lead);
    }
    return this.averaged;
  }
}

/** One map for all heads: their mean, or a rollout. */
export class Dense extends Weights {
  constructor(like, patches, lead) {
    super({ ...like, heads: 1 }, like.group, like.cells);
    this.patches = patches;
    this.lead = lead;
  }

  patch(head, query, index) {
    return this.patches[query * this.each + index];
  }

  wholeRow(head, query, patches) {
    patches.set(this.patches.subarray(query * this.each, (query + 1) * this.each));
  }

  wholeColumn(head, index, patches) {
    const { each, queries: { prefix } } = this;
    for (let query = 0; query < patches.length; query += 1) patches[query] = this.patches[(query + prefix) * each + index];
  }

  leading(head, query, index) {
    return this.lead[query * this.keys.prefix + index];
  }
}
