'use strict';
// Vendure's import (`importProducts`, `populate`) writes products without an event: they are seen where they are stored.
const { Product, ProductVariant } = require('@vendure/core');

class InsertSubscriber {
  /** @type {WeakMap<object, import('@vendure/core').ID[]>} products of a transaction that is not yet over */
  #pending = new WeakMap();

  /** @param {(id: import('@vendure/core').ID) => void} inserted told of each product once it is there for everybody */
  constructor(inserted) {
    this.inserted = inserted;
  }

  afterInsert({ metadata, entity, queryRunner }) {
    const id =
      metadata.target === Product ? entity?.id : metadata.target === ProductVariant ? productOf(entity) : undefined;
    if (id === undefined) return;
    if (!queryRunner.isTransactionActive) return this.inserted(id);
    this.#pending.set(queryRunner, [...(this.#pending.get(queryRunner) ?? []), id]);
  }

  afterTransactionCommit({ queryRunner }) {
    if (queryRunner.isTransactionActive) return; // only a part of it
    for (const id of this.#pending.get(queryRunner) ?? []) this.inserted(id);
    this.#pending.delete(queryRunner);
  }

  afterTransactionRollback({ queryRunner }) {
    if (!queryRunner.isTransactionActive) this.#pending.delete(queryRunner);
  }
}

function productOf(variant) {
  return variant?.productId ?? variant?.product?.id;
}

module.exports = { InsertSubscriber };
