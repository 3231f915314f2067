'use strict';
// What the tests do in a shop, each a few words.

const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==',
  'base64',
);

let count = 0;

/** @returns {string} a word that no other call returns */
const unique = (word) => `${word}-${(count += 1)}`;

class Shop {
  /** @param {import('./vendure').Admin} admin */
  constructor(admin) {
    this.admin = admin;
  }

  /** Makes what channels and variants need. */
  static async prepare(admin) {
    const shop = new Shop(admin);
    const zone = await admin.ask('mutation { createZone(input: { name: "Everywhere" }) { id } }');
    shop.zone = zone.createZone.id;
    await admin.ask(
      'mutation ($zone: ID!) { updateChannel(input: { id: 1, defaultTaxZoneId: $zone, defaultShippingZoneId: $zone }) { __typename } }',
      { zone: shop.zone },
    );
    const tax = await admin.ask('mutation { createTaxCategory(input: { name: "Standard" }) { id } }');
    shop.tax = tax.createTaxCategory.id;
    return shop;
  }

  /** @returns {Promise<{ id: string, token: string }>} */
  async channel() {
    const code = unique('shop');
    const input = {
      code,
      token: code,
      defaultLanguageCode: 'en',
      pricesIncludeTax: false,
      defaultCurrencyCode: 'USD',
      defaultTaxZoneId: this.zone,
      defaultShippingZoneId: this.zone,
    };
    const query =
      'mutation ($input: CreateChannelInput!) { createChannel(input: $input) { ... on Channel { id token } ... on ErrorResult { message } } }';
    return (await this.admin.ask(query, { input })).createChannel;
  }

  /** @returns {Promise<string>} id of a picture */
  picture() {
    return this.admin.upload(`${unique('photo')}.png`, 'image/png', PNG);
  }

  /** @returns {Promise<string>} id of a new product */
  async product(more = {}) {
    const name = unique('product');
    const input = { translations: [{ languageCode: 'en', name, slug: name, description: '' }], ...more };
    return (
      await this.admin.ask('mutation ($input: CreateProductInput!) { createProduct(input: $input) { id } }', {
        input,
      })
    ).createProduct.id;
  }

  updateProduct(input) {
    return this.admin.ask('mutation ($input: UpdateProductInput!) { updateProduct(input: $input) { id } }', {
      input,
    });
  }

  /** @returns {Promise<string[]>} ids of new variants, which are made together or not at all */
  async variants(inputs) {
    const usual = () => ({
      sku: unique('sku'),
      price: 100,
      taxCategoryId: this.tax,
      translations: [{ languageCode: 'en', name: 'one' }],
    });
    const query = 'mutation ($input: [CreateProductVariantInput!]!) { createProductVariants(input: $input) { id } }';
    const { createProductVariants } = await this.admin.ask(query, {
      input: inputs.map((one) => ({ ...usual(), ...one })),
    });
    return createProductVariants.map(({ id }) => id);
  }

  /** @returns {Promise<string>} id of a new variant */
  async variant(productId, more = {}) {
    return (await this.variants([{ productId, ...more }]))[0];
  }

  updateVariant(input) {
    return this.admin.ask(
      'mutation ($input: [UpdateProductVariantInput!]!) { updateProductVariants(input: $input) { id } }',
      { input: [input] },
    );
  }

  assignProduct(productId, channelId) {
    return this.admin.ask(
      'mutation ($input: AssignProductsToChannelInput!) { assignProductsToChannel(input: $input) { id } }',
      { input: { productIds: [productId], channelId } },
    );
  }

  removeProduct(productId, channelId) {
    return this.admin.ask(
      'mutation ($input: RemoveProductsFromChannelInput!) { removeProductsFromChannel(input: $input) { id } }',
      { input: { productIds: [productId], channelId } },
    );
  }

  deletePicture(id, { everywhere }) {
    const query =
      'mutation ($id: ID!, $everywhere: Boolean) { deleteAsset(input: { assetId: $id, force: true, deleteFromAllChannels: $everywhere }) { result } }';
    return this.admin.ask(query, { id, everywhere });
  }

  /** @returns {Promise<string>} name (and password) of an administrator with these permissions in these channels only */
  async administrator(permissions, channelIds) {
    const code = unique('role');
    const role = await this.admin.ask('mutation ($input: CreateRoleInput!) { createRole(input: $input) { id } }', {
      input: { code, description: code, permissions, channelIds },
    });
    const emailAddress = `${unique('someone')}@example.com`;
    const input = {
      firstName: 'Ada',
      lastName: 'Lovelace',
      emailAddress,
      password: emailAddress,
      roleIds: [role.createRole.id],
    };
    await this.admin.ask(
      'mutation ($input: CreateAdministratorInput!) { createAdministrator(input: $input) { id } }',
      { input },
    );
    return emailAddress;
  }
}

/** @returns {string} what Vendure's import reads: one product with one variant */
function csvOf(slug) {
  const row = {
    name: slug,
    slug,
    description: '',
    assets: '',
    facets: '',
    optionGroups: '',
    optionValues: '',
    sku: slug,
    price: '1.00',
    taxCategory: 'standard',
    stockOnHand: '0',
    trackInventory: 'false',
    variantAssets: '',
    variantFacets: '',
  };
  return `${Object.keys(row)}\n${Object.values(row)}\n`;
}

module.exports = { Shop, csvOf };
