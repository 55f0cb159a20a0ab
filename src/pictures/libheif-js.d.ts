/** The part of libheif's C interface that is used here, as libheif-js 1.23 exports it to WebAssembly for 32 bits. */
declare module 'libheif-js/libheif-wasm/libheif-bundle.mjs' {
  /** Pointers are byte offsets into the heap. Functions that may fail write a `heif_error` of 12 bytes to the first. */
  export type LibHeif = {
    readonly HEAPU8: Uint8Array<ArrayBuffer>
    readonly HEAPU32: Uint32Array<ArrayBuffer>
    _malloc(bytes: number): number
    _free(pointer: number): void
    _heif_get_version_number(): number
    _heif_context_alloc(): number
    _heif_context_free(context: number): void
    _heif_context_read_from_memory_without_copy(
      error: number,
      context: number,
      bytes: number,
      length: number,
      options: number,
    ): void
    _heif_context_get_primary_image_handle(error: number, context: number, handle: number): void
    _heif_image_handle_release(handle: number): void
    _heif_image_handle_has_alpha_channel(handle: number): number
    _heif_image_handle_get_color_profile_type(handle: number): number
    _heif_image_handle_get_raw_color_profile_size(handle: number): number
    _heif_image_handle_get_raw_color_profile(error: number, handle: number, profile: number): void
    _heif_image_handle_get_image_tiling(error: number, handle: number, transformed: number, tiling: number): void
    _heif_decoding_options_alloc(): number
    _heif_decoding_options_free(options: number): void
    _heif_decode_image(
      error: number,
      handle: number,
      image: number,
      colourSpace: number,
      chroma: number,
      options: number,
    ): void
    _heif_image_handle_decode_image_tile(
      error: number,
      handle: number,
      image: number,
      colourSpace: number,
      chroma: number,
      options: number,
      column: number,
      row: number,
    ): void
    _heif_image_get_width(image: number, channel: number): number
    _heif_image_get_height(image: number, channel: number): number
    _heif_image_get_plane_readonly2(image: number, channel: number, stride: number): number
    _heif_image_release(image: number): void
  }

  export default function load(options: { print(text: string): void; printErr(text: string): void }): LibHeif
}
